"""The work on an event is cut off: its caller goes away, the model fails, its lock is lost, its process is killed."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio
from risk_engine.audit import RedisAudit
from risk_engine.errors import FailureClass, classify
from risk_engine.fleet import Replica
from risk_engine.keys import Keys
from risk_engine.wiring import Engine

from riskscale.testing import ServerProcess
from tests.chaos.harness import (
    PARTITIONS,
    Told,
    assert_books,
    embedded,
    insist,
    insist_on_all,
    on_server,
    payments,
    until,
)
from tests.chaos.replica import replicas
from tests.risk_engine.books import books_of
from tests.risk_engine.parts import Fakes, FlakyModel, event


class Trouble:
    """Every so many calls of the model end in ``how``."""

    def __init__(self, every: int, how: str) -> None:
        self.every, self.how, self.calls = every, how, 0

    async def __call__(self) -> None:
        self.calls += 1
        if self.calls % self.every == 0:
            if self.how == "raises":
                raise RuntimeError("no score")
            await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_with_fakes_a_model_in_trouble_loses_nothing(how: str) -> None:
    fakes = Fakes(model=FlakyModel(Trouble(3, how)))
    told: list[str] = []
    for each in payments(9):
        for _ in range(5):
            try:
                await fakes.service.create_event("acme", each)
                break
            except Exception as error:
                told.append(classify(error).kind)
    assert set(told) == {"WORKFLOW_ERROR" if how == "raises" else "TIMEOUT"}
    assert len(fakes.publisher.messages) == len(await fakes.audit.entries("acme")) == 9
    assert fakes.costs.by_tenant["acme"] == 25 * (9 + len(told))


async def test_embedded_a_model_in_trouble_opens_its_breaker_and_recovers(tmp_path: Path) -> None:
    trouble = Trouble(1, "raises")
    async with embedded(tmp_path, None, {"lock_seconds": 60}, model=FlakyModel(trouble)) as engine:
        told = Told()
        working = asyncio.create_task(insist_on_all([engine], told, payments(5)))
        await until(lambda: told.failures[FailureClass.DEPENDENCY_OPEN] > 0)
        trouble.every = 10**9
        await working
        assert engine.breakers[0].state == "closed"
        await assert_books(engine, told)
    assert set(told.failures) == {FailureClass.WORKFLOW_ERROR, FailureClass.DEPENDENCY_OPEN}


@pytest.mark.parametrize("place", range(0, 40, 3))
async def test_embedded_a_caller_that_goes_away_at_any_moment_leaves_nothing_half_done(
    tmp_path: Path, place: int
) -> None:
    async with embedded(tmp_path) as engine:
        payment, told = event(), Told()
        working = asyncio.create_task(engine.service.create_event("acme", payment))
        for _ in range(place):
            await asyncio.sleep(0)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await insist(engine, told, "acme", payment)
        await assert_books(engine, told)
        assert engine.bulkhead.status().running == 0


async def test_embedded_who_lost_its_lock_is_shut_out_by_who_took_over(tmp_path: Path) -> None:
    stuck, go_on = asyncio.Event(), asyncio.Event()

    async def first_call_is_slow() -> None:
        if not stuck.is_set():
            stuck.set()
            await go_on.wait()

    async with embedded(tmp_path, model=FlakyModel(first_call_is_slow)) as engine:
        payment, told = event(), Told()
        service = engine.service
        old = await service.store.claim("acme", payment, 1)
        working = asyncio.create_task(service.workflow.run(old))
        await stuck.wait()
        await insist(engine, told, "acme", payment)  # with a newer fence: the lock's is a time
        go_on.set()
        with pytest.raises(Exception) as caught:  # noqa: PT011 - its class is what matters
            await working
        assert classify(caught.value).kind is FailureClass.LOCK_LOST
        await assert_books(engine, told)


async def test_server_a_replica_that_is_killed_in_its_work_is_taken_over(
    scratch_server: ServerProcess, tmp_path: Path
) -> None:
    """SIGKILL in the middle of eight workflows: the other replica does them."""
    with replicas(scratch_server.url, 2, CHAOS_MODEL_SECONDS="0.3") as (doomed, other):
        events = [each.model_dump(mode="json") for each in payments(8)]
        async with httpx.AsyncClient(timeout=30) as client, redis.asyncio.from_url(scratch_server.url) as server:
            sent = [asyncio.create_task(post(client, doomed, payment)) for payment in events]
            await begun(server, 8)
            doomed.signal(signal.SIGKILL)
            assert await asyncio.gather(*sent) == [None] * 8
            answers = await asyncio.gather(*(insist_on(client, other, payment) for payment in events))
            assert [answer["event_id"] for answer in answers] == [payment["event_id"] for payment in events]
            books = await books_of(server, "", RedisAudit(server, Keys()), ["acme"], PARTITIONS)
        assert books.violations([("acme", payment["event_id"]) for payment in events]) == []
        assert {entry.replica for entry in books.audited["acme"]} == {other.name}


async def begun(server: Any, many: int) -> None:
    """So many workflows are under way."""
    async with asyncio.timeout(30):
        while len(await server.keys("risk:*workflow*")) < many:
            await asyncio.sleep(0.005)


async def post(client: httpx.AsyncClient, replica: Replica, payment: dict[str, Any]) -> dict[str, Any] | None:
    """The assessment; None where there was no answer, or not yet."""
    try:
        response = await client.post(f"{replica.url}/events", json=payment, headers={"X-Tenant": "acme"})
    except httpx.TransportError:
        return None
    if response.status_code == 201:
        return dict(response.json())
    assert response.json()["class"] != "INTERNAL_ERROR"
    return None


async def insist_on(client: httpx.AsyncClient, replica: Replica, payment: dict[str, Any]) -> dict[str, Any]:
    """Until it is assessed: at the latest when the lease of who died is over."""
    async with asyncio.timeout(60):
        while (answer := await post(client, replica, payment)) is None:
            await asyncio.sleep(0.05)
    return answer


async def test_server_lost_leases_and_takeovers_between_two_replicas(
    scratch_server: ServerProcess, tmp_path: Path
) -> None:
    """Operators take locks away at random from two replicas that both work on the same events."""
    async with on_server(scratch_server.url, tmp_path) as one, on_server(scratch_server.url, tmp_path) as two:
        told, done = Told(), asyncio.Event()

        async def thief(engine: Engine) -> None:
            while not done.is_set():
                for key in await engine.client.keys("rs1:*workflow*:lock"):
                    await engine.client.hdel(key, "owner")
                await asyncio.sleep(0.01)

        stealing = asyncio.create_task(thief(one))
        events = payments(25)
        await asyncio.gather(insist_on_all([one], told, events), insist_on_all([two], told, events))
        done.set()
        await stealing
        assert set(told.failures) <= {FailureClass.LOCK_LOST, FailureClass.WORKFLOW_ERROR, FailureClass.TIMEOUT}
        await assert_books(one, told)
