"""The server is killed, paused, slow, full, or behind a link that is cut; the service comes back without a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from risk_engine.errors import FailureClass, classify
from risk_engine.wiring import Engine

import riskscale
from riskscale.testing import Outage, ServerProcess, fake_async_client, new_fake_server
from tests.chaos.harness import Told, assert_books, embedded, insist_on_all, on_server, payments, until
from tests.history.proxy import Door
from tests.risk_engine.parts import event

GONE = {FailureClass.STORAGE_ERROR, FailureClass.TIMEOUT, FailureClass.MESSAGING_ERROR, FailureClass.DEPENDENCY_OPEN}
"""What a client may be told while the storage does not answer: it is also where the results are published."""
TAKEN_OVER = {FailureClass.WORKFLOW_ERROR, FailureClass.LOCK_LOST}
"""And when it answers again: the attempt before is still under way, or was taken over."""


@pytest.fixture
def lasting_server() -> Iterator[ServerProcess]:
    """One that keeps what it has acknowledged, as a service's storage must."""
    with ServerProcess(args=("--appendonly", "yes", "--appendfsync", "always")) as server:
        yield server


@asynccontextmanager
async def behind_a_door(server: ServerProcess, folder: Path) -> AsyncIterator[tuple[Engine, Door, Any]]:
    """The engine, the only way to its server, and a client that needs no door."""
    door = Door(server.port, lambda kind, box: None)
    await door.open()
    try:
        async with (
            redis.asyncio.from_url(server.url) as straight,
            on_server(f"redis://127.0.0.1:{door.port}", folder) as engine,
        ):
            yield engine, door, straight
    finally:
        await door.close()


async def test_embedded_an_outage_fails_with_its_class_and_ends_without_a_restart(tmp_path: Path) -> None:
    server = new_fake_server()
    outage, client = Outage.of_embedded(server), fake_async_client(server)
    async with embedded(tmp_path, client) as engine:
        told = Told()
        working = asyncio.create_task(insist_on_all([engine], told, payments(20)))
        await until(lambda: len(told.accepted) > 5)
        with outage:
            await until(lambda: told.failures[FailureClass.STORAGE_ERROR] > 10)
        await working
        await assert_books(engine, told)
    await client.aclose()
    assert set(told.failures) <= GONE | TAKEN_OVER


@pytest.mark.parametrize("how", ["stalled", "crashed"])
async def test_server_paused_or_killed_nothing_accepted_is_lost(
    lasting_server: ServerProcess, tmp_path: Path, how: str
) -> None:
    outage: Outage = getattr(Outage, how)(lasting_server)
    async with on_server(lasting_server.url, tmp_path) as engine:
        told = Told()
        working = asyncio.create_task(insist_on_all([engine], told, payments(60)))
        for part in (10, 40):
            await until(lambda part=part: len(told.accepted) >= part)
            before = sum(told.failures.values())
            with outage:
                await until(lambda before=before: sum(told.failures.values()) > before + 4)
                assert (await engine.health.system_health("ready")).http_status != 200
                assert (await engine.health.system_health("live")).http_status == 200
        await working
        await assert_books(engine, told)
        await healthy(engine)
    assert set(told.failures) <= GONE | TAKEN_OVER


async def test_server_limits_go_on_in_this_process_while_it_is_gone(
    scratch_server: ServerProcess, tmp_path: Path
) -> None:
    """Two replicas share 20 a minute; without the server each goes on with its half."""
    changes = {"rate_limit": "20/minute", "replicas": 2, "decision_seconds": 0.1}
    async with on_server(scratch_server.url, tmp_path, changes) as engine:
        assert not (await engine.service.protection.limiter.hit("acme")).degraded  # type: ignore[attr-defined]
        scratch_server.kill()
        kinds = [await outcome(engine, f"e-{number}") for number in range(14)]
        assert kinds[:10] == [FailureClass.STORAGE_ERROR] * 10, "admitted, and then there is no storage"
        assert kinds[10:] == [FailureClass.RATE_LIMITED] * 4
        scratch_server.start()
        await healthy(engine)
        async with asyncio.timeout(60):
            while (await engine.service.protection.limiter.hit("globex")).degraded:  # type: ignore[attr-defined]
                await asyncio.sleep(0.05)


async def outcome(engine: Engine, event_id: str) -> FailureClass | None:
    try:
        await engine.service.create_event("acme", event(event_id))
    except Exception as error:
        return classify(error).kind
    return None


async def test_server_that_refuses_writes(lasting_server: ServerProcess, tmp_path: Path) -> None:
    """Out of memory: events fail with the class of the storage, reads go on, and what comes after is whole."""
    async with on_server(lasting_server.url, tmp_path) as engine:
        told = Told()
        working = asyncio.create_task(insist_on_all([engine], told, payments(40)))
        await until(lambda: len(told.accepted) > 10)
        await engine.client.config_set("maxmemory", "1")
        await until(lambda: sum(told.failures.values()) > 20)
        assert await engine.service.find(*told.accepted[0]) is not None
        await engine.client.config_set("maxmemory", "0")
        await working
        await assert_books(engine, told)
    assert set(told.failures) <= GONE | TAKEN_OVER


@pytest.mark.parametrize("how", ["slow", "silent", "cut"])
async def test_server_behind_a_bad_link(lasting_server: ServerProcess, tmp_path: Path, how: str) -> None:
    """Replies come late, not at all, or the connection breaks with a request or a reply on its way."""
    async with behind_a_door(lasting_server, tmp_path) as (engine, door, straight):
        told = Told()
        working = asyncio.create_task(insist_on_all([engine], told, payments(40)))
        await until(lambda: len(told.accepted) > 5)
        if how == "slow":
            door.delay = 0.05
            await until(lambda: len(told.accepted) > 15)
            door.delay = 0.0
        elif how == "silent":
            door.flows.clear()
            await until(lambda: sum(told.failures.values()) > 4)
            door.flows.set()
        else:
            await cut_again_and_again(door, working)
        await working
        await assert_books(engine, told, straight)
        await healthy(engine)
    assert set(told.failures) <= GONE | TAKEN_OVER


async def cut_again_and_again(door: Door, working: asyncio.Task[None]) -> None:
    """One connection every 20 ms, at once, or so that a request or a reply is lost."""
    import random

    chance = random.Random(7)
    while not working.done():
        door.reset(chance)
        await asyncio.wait({working}, timeout=0.02)


async def healthy(engine: Engine) -> None:
    """Without a restart: ready, and an event goes through."""
    async with asyncio.timeout(60):
        while (await engine.health.system_health("ready")).http_status != 200:
            await asyncio.sleep(0.02)
        for attempt in range(1000):
            try:
                await engine.service.create_event("globex", event("e-healthy"))
                return
            except (redis.RedisError, riskscale.RiskscaleError, RuntimeError):
                assert attempt < 999
                await asyncio.sleep(0.05)
