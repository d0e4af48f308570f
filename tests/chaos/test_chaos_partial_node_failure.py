"""Some of the replicas are in trouble: killed, frozen, told to end, or with a wrong clock."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from risk_engine.audit import RedisAudit
from risk_engine.driver import Driver
from risk_engine.fleet import Replica
from risk_engine.keys import Keys

from riskscale.testing import ServerProcess
from tests.chaos.harness import PARTITIONS, Told, assert_books, embedded, insist_on_all, payments
from tests.chaos.replica import replicas
from tests.risk_engine.books import books_of

TENANTS = [f"tenant-{number}" for number in range(4)]


async def test_embedded_two_replicas_of_one_server_and_one_of_them_ends(tmp_path: Path) -> None:
    from riskscale.testing import fake_async_client, new_fake_server

    server = new_fake_server()
    client, told, events = fake_async_client(server), Told(), payments(20)
    async with embedded(tmp_path, client) as stays:
        async with embedded(tmp_path, client) as ends:
            working = asyncio.create_task(insist_on_all([ends, stays], told, events))
            while len(told.accepted) < 10:
                await asyncio.sleep(0)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await insist_on_all([stays], told, events)
        await assert_books(stays, told)
    await client.aclose()


@pytest.mark.parametrize("trouble", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
async def test_server_one_of_three_replicas_dies_freezes_or_ends(
    scratch_server: ServerProcess, trouble: signal.Signals
) -> None:
    """The clients go on with the other two, and what the third had begun is done once, or marked."""
    with replicas(scratch_server.url, 3, CHAOS_MODEL_SECONDS="0.02") as fleet:
        others = [each.url for each in fleet[1:]]
        at = datetime.now(UTC).isoformat()
        async with Driver([each.url for each in fleet], attempts=3, timeout=1) as driver:
            await send_all(driver, at, lambda sent: fleet[0].signal(trouble) if sent == 40 else None)
        async with Driver(others, attempts=100, timeout=5) as rest:
            await send_all(rest, at)
            assert await rest.missing(rest.tally.accepted) == []
        if trouble is signal.SIGSTOP:
            fleet[0].signal(signal.SIGCONT)  # it goes on with what it had begun, and finds that it is too late
            await answers(fleet[0])
        assert set(rest.tally.outcomes) <= {"assessed", "replayed"}
        assert rest.tally.strangers == driver.tally.strangers == 0
        async with redis.asyncio.from_url(scratch_server.url) as server:
            books = await books_of(server, "", RedisAudit(server, Keys()), TENANTS, PARTITIONS)
    assert books.violations(rest.tally.accepted) == []


async def answers(replica: Replica) -> None:
    async with httpx.AsyncClient(timeout=1) as client, asyncio.timeout(30):
        while True:
            try:
                if (await client.get(f"{replica.url}/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def send_all(driver: Driver, at: str, after: Callable[[int], None] = lambda sent: None) -> None:
    """The same events each time, of all tenants; ``after`` is called with the number of those that were sent."""
    waiting = iter([(tenant, number) for number in range(25) for tenant in TENANTS])
    sent = 0

    async def client() -> None:
        nonlocal sent
        for tenant, number in waiting:
            body = {
                "event_id": f"e-{number}", "amount": "12.50", "country": "SE", "merchant": "shop",
                "device": f"d-{number}", "timestamp": at,
            }  # fmt: skip
            sent += 1
            after(sent)
            await driver.send(tenant, body)

    async with asyncio.TaskGroup() as group:
        for _ in range(12):
            group.create_task(client())


async def test_server_a_replica_whose_clock_is_an_hour_off_shares_locks_limits_and_keys(
    scratch_server: ServerProcess,
) -> None:
    """Leases, limits and idempotency go by the server's clock: only what is told of the time differs."""
    env = {"CHAOS_CLOCK_SECONDS_1": "-3600", "RISK_RATE_LIMIT": "60/hour"}
    with replicas(scratch_server.url, 2, **env) as fleet:
        wrong, right = fleet
        at = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        async with Driver([wrong.url, right.url]) as driver:
            for number in range(70):  # each replica in turn
                await driver.send("acme", {
                    "event_id": f"e-{number}", "amount": "12.50", "country": "SE", "merchant": "shop",
                    "device": f"d-{number}", "timestamp": at,
                })  # fmt: skip
        assert driver.tally.outcomes == {"assessed": 60, "RATE_LIMITED": 10}
        async with redis.asyncio.from_url(scratch_server.url) as server:
            audit = await RedisAudit(server, Keys()).entries("acme")
            books = await books_of(server, "", RedisAudit(server, Keys()), ["acme"], PARTITIONS)
    assert books.violations(driver.tally.accepted) == []
    hours = {entry.replica: datetime.fromisoformat(entry.at) for entry in audit}
    assert hours[right.name] - hours[wrong.name] > timedelta(minutes=50)
