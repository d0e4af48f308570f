"""The HTTP API under load: in this process, and by real sockets against three processes on one server."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
from risk_engine.app import create_app
from risk_engine.audit import RedisAudit
from risk_engine.costs import RedisCosts
from risk_engine.driver import Driver
from risk_engine.fleet import Replica, fleet
from risk_engine.keys import Keys
from risk_engine.wiring import Engine

from riskscale.testing import ServerProcess
from tests.load.harness import PARTITIONS, SCALE, assert_books, engine, names, samples
from tests.risk_engine.books import Name, books_of
from tests.risk_engine.parts import event

AT_ONCE = 32
TENANTS, EVENTS = 6 * SCALE, 60
LIMIT = 100
HEALTH = 300
AT = datetime.now(UTC)


def body(event_id: str) -> dict[str, Any]:
    """The same each time, as of a client that repeats itself."""
    payment: dict[str, Any] = event(event_id, device=event_id, timestamp=AT).model_dump(mode="json")
    return payment


async def drive(driver: Driver, wanted: list[Name]) -> None:
    """All of them, ``AT_ONCE`` under way; the driver's tally says what became of them."""
    waiting = iter(wanted)

    async def client() -> None:
        for tenant, event_id in waiting:
            await driver.send(tenant, body(event_id))

    async with driver, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client())


def show(capsys: pytest.CaptureFixture[str], title: str, driver: Driver) -> None:
    with capsys.disabled():
        print("", title, *(f"  {line}" for line in driver.tally.lines()), sep="\n")


@asynccontextmanager
async def in_process(folder: Path, url: str | None) -> AsyncIterator[tuple[Engine, httpx.ASGITransport]]:
    async with engine(url, folder) as running:

        @asynccontextmanager
        async def already() -> AsyncIterator[Engine]:
            yield running

        app = create_app(already)
        async with app.router.lifespan_context(app):
            yield running, httpx.ASGITransport(app)


@pytest.mark.parametrize("where", ["embedded", "server"])
async def test_in_process_every_event_is_assessed_for_its_tenant(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    url = request.getfixturevalue("scratch_server").url if where == "server" else None
    wanted = names(5, 40)
    async with in_process(tmp_path, url) as (running, transport):
        driver = Driver(["http://risk"], transport=transport)
        await drive(driver, wanted)
        async with httpx.AsyncClient(transport=transport, base_url="http://risk") as api:
            answers = await asyncio.gather(*(api.get("/health") for _ in range(HEALTH)))
            page = (await api.get("/metrics")).text
        assert driver.tally.outcomes == {"assessed": len(wanted)}
        assert driver.tally.strangers == 0
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["status"] for answer in answers} == {"pass"}
        spent = [await running.costs.spent(f"tenant-{tenant}") for tenant in range(5)]
        assert spent == [40 * 25] * 5
        assert samples(page, "riskscale_risk_model_cost_total")[""] == sum(spent)
        await assert_books(running, wanted)
    show(capsys, f"in process, {where}", driver)


@pytest.fixture(scope="module")
def three() -> Iterator[tuple[ServerProcess, list[Replica]]]:
    """Three processes on one server, with the same limit for each tenant; their results stay in the streams."""
    env = {
        "RISK_RATE_LIMIT": f"{LIMIT}/hour", "RISK_DECISION_SECONDS": "60", "RISK_WAIT_SECONDS": "60",
        "RISK_PARTITIONS": str(PARTITIONS), "RISK_CONSUME": "false",
    }  # fmt: skip
    with ServerProcess() as server, fleet(server.url, 3, env) as replicas:
        yield server, replicas


@pytest.mark.timeout(600)
async def test_three_processes_serve_all_tenants_as_one(
    three: tuple[ServerProcess, list[Replica]], capsys: pytest.CaptureFixture[str]
) -> None:
    server, replicas = three
    urls = [each.url for each in replicas]
    wanted = [(f"even-{tenant}", event_id) for tenant, event_id in names(TENANTS, EVENTS)]
    tenants = sorted({tenant for tenant, _ in wanted})
    before = await cost_counted(urls)
    await drive(driver := Driver(urls), wanted)
    assert driver.tally.outcomes == {"assessed": len(wanted)}
    assert driver.tally.strangers == 0
    assert driver.tally.latency.get_total_count() == len(wanted)

    await drive(again := Driver(urls[1:] + urls[:1]), wanted[: TENANTS * 5])
    assert again.tally.outcomes == {"replayed": TENANTS * 5}, "another replica did it"
    async with Driver(urls) as reader:
        assert await reader.missing(wanted[:50]) == []

    async with redis.asyncio.from_url(server.url) as client:
        keys = Keys()
        spent = [await RedisCosts(client, keys).spent(tenant) for tenant in tenants]
        books = await books_of(client, "", RedisAudit(client, keys), tenants, PARTITIONS)
    assert spent == [EVENTS * 25] * TENANTS
    assert await cost_counted(urls) - before == sum(spent)
    assert books.violations(wanted) == []
    assert sorted(name for name, _ in books.sent if name[0] in tenants) == sorted(wanted)
    worked = {entry.replica for entries in books.audited.values() for entry in entries}
    assert worked == {each.name for each in replicas}
    show(capsys, "three processes", driver)


async def cost_counted(urls: list[str]) -> int:
    """By the metrics of all replicas."""
    async with httpx.AsyncClient(timeout=30) as client:
        pages = [(await client.get(f"{url}/metrics")).text for url in urls]
    return sum(samples(page, "riskscale_risk_model_cost_total")[""] for page in pages)


async def test_three_processes_grant_a_burst_of_150_exactly_the_limit(
    three: tuple[ServerProcess, list[Replica]],
) -> None:
    server, replicas = three
    driver = Driver([each.url for each in replicas])
    async with driver, asyncio.TaskGroup() as group:
        for number, tenant in itertools.product(range(150), ("burst-1", "burst-2")):
            group.create_task(driver.send(tenant, body(f"e-{number}")))
    expected = {"assessed": LIMIT, "RATE_LIMITED": 150 - LIMIT}
    assert driver.tally.by_tenant == {"burst-1": Counter(expected), "burst-2": Counter(expected)}
    async with redis.asyncio.from_url(server.url) as client:
        audit = RedisAudit(client, Keys())
        assert [len(await audit.entries(tenant)) for tenant in ("burst-1", "burst-2")] == [LIMIT] * 2


async def test_three_processes_answer_many_who_ask_for_health(three: tuple[ServerProcess, list[Replica]]) -> None:
    _, replicas = three
    urls = [f"{each.url}/health/{group}" for each, group in itertools.product(replicas, ("live", "ready"))]
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        answers = await asyncio.gather(*(client.get(url) for url in urls * (HEALTH // len(urls))))
    assert Counter(answer.status_code for answer in answers) == {200: HEALTH}
    assert {answer.json()["status"] for answer in answers} == {"pass"}
