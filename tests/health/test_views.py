"""Breakers, bulkheads and the server in the report."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import riskscale
import riskscale.sync
from riskscale import ArgumentError, HealthStatus, Hub, SharedBulkhead
from riskscale.testing import Outage, ServerProcess
from tests.health.conftest import Asked, until

PASS, WARN, FAIL = HealthStatus


class Foreign:
    """A breaker of somebody else."""

    name, state = "foreign", "half-open"


async def test_an_open_breaker_warns_and_the_replica_stays(asked: Asked) -> None:
    monitor, breaker = asked.monitor(cache_seconds=0), riskscale.CircuitBreaker(1, 30, "payments")
    monitor.add_breaker(breaker)
    monitor.add_breaker(Foreign())
    own, foreign = (await asked.health(monitor, "ready")).checks
    assert (own.name, own.status, own.measurement, own.value) == ("payments", PASS, "state", "closed")
    assert (foreign.status, foreign.output) == (WARN, "the breaker is half-open")
    await breaker.force_open(30, "maintenance")
    report = await asked.health(monitor, "ready")
    assert (report.status, report.http_status) == (WARN, 200)
    assert (report.checks[0].value, report.checks[0].output) == ("open", "the breaker is open")
    with pytest.raises(ArgumentError, match="there is a breaker 'payments'"):
        monitor.add_breaker(breaker)
    monitor.add_bulkhead(riskscale.BulkheadExecutor(1, 0, name="payments"))  # another matter


async def test_a_full_bulkhead_warns() -> None:
    monitor, bulkhead = riskscale.HealthMonitor(cache_seconds=0), riskscale.BulkheadExecutor(1, 1, name="db")
    monitor.add_bulkhead(bulkhead)
    end = asyncio.Event()
    jobs = []
    for waiting, status in ((0, PASS), (1, WARN)):
        jobs.append(asyncio.create_task(bulkhead.submit(end.wait)))
        await until(lambda waiting=waiting: bulkhead.running == 1 and bulkhead.waiting == waiting)
        (check,) = (report := await monitor.system_health()).checks
        assert (report.status, check.status, report.http_status) == (status, status, 200)
        assert check.value == {"running": 1, "waiting": waiting, "maxConcurrent": 1, "maxQueued": 1}
    end.set()
    await asyncio.gather(*jobs)


async def test_a_shared_bulkhead_is_asked_and_warns_without_its_server(hub: Hub) -> None:
    monitor, bulkhead = riskscale.HealthMonitor(cache_seconds=0), SharedBulkhead(hub, "solver", 2, 0)
    monitor.add_bulkhead(bulkhead)
    async with bulkhead.hold():
        (check,) = (await monitor.system_health()).checks
        assert (check.status, check.value["running"]) == (PASS, 1)
        async with bulkhead.hold():
            assert (await monitor.system_health()).status is WARN
    await hub.aclose()
    report = await monitor.system_health()
    assert (report.status, report.checks[0].status, report.checks[0].output) == (WARN, FAIL, "HubClosed")


def test_a_shared_bulkhead_in_threads(sync_hub: riskscale.sync.Hub, hub: Hub) -> None:
    monitor = riskscale.sync.HealthMonitor(cache_seconds=0)
    bulkhead = riskscale.sync.SharedBulkhead(sync_hub, "solver", 1, 0)
    monitor.add_bulkhead(bulkhead)
    assert monitor.system_health().status is PASS
    with bulkhead.hold():
        assert monitor.system_health().status is WARN
    with pytest.raises(ArgumentError, match=r"riskscale\.HealthMonitor"):
        monitor.add_bulkhead(SharedBulkhead(hub, "other", 1, 0))
    with pytest.raises(ArgumentError, match=r"is of riskscale\.sync"):
        riskscale.HealthMonitor().add_bulkhead(bulkhead)


async def test_the_server_is_asked_through_a_hub_or_a_client(client: Any, hub: Hub) -> None:
    monitor = riskscale.HealthMonitor(cache_seconds=0)
    monitor.add_redis(hub)
    monitor.add_redis(client, name="sessions", critical=False)
    report = await monitor.system_health("ready")
    assert [(check.name, check.kind, check.status) for check in report.checks] == [
        ("redis", "datastore", PASS),
        ("sessions", "datastore", PASS),
    ]
    assert (await monitor.system_health("live")).checks == ()
    with pytest.raises(ArgumentError, match="groups must not have 'live'"):
        monitor.add_redis(hub, name="other", groups=("live", "ready"))
    with pytest.raises(ArgumentError, match="blocking"):
        riskscale.sync.HealthMonitor().add_redis(client)


async def test_a_hub_that_closes_leaves_the_rotation(client: Any, hub: Hub) -> None:
    monitor = riskscale.HealthMonitor(cache_seconds=0)
    monitor.add_redis(hub)
    hub.enter()  # a call is under way
    closing = asyncio.create_task(hub.aclose(timeout=60))
    while (await monitor.system_health("ready")).http_status == 200:
        await asyncio.sleep(0)
    assert not closing.done()
    hub.leave()
    await closing
    report = await monitor.system_health("ready")
    assert (report.http_status, report.checks[0].output) == (503, "HubClosed")
    assert (await monitor.system_health("live")).http_status == 200


async def test_the_same_in_threads(sync_client: Any, sync_hub: riskscale.sync.Hub) -> None:
    monitor = riskscale.sync.HealthMonitor(cache_seconds=0)
    monitor.add_redis(sync_hub)
    monitor.add_redis(sync_client, name="sessions")
    assert {check.status for check in monitor.system_health("ready").checks} == {PASS}
    sync_hub.close()
    redis, sessions = monitor.system_health("ready").checks
    assert (redis.status, redis.output, sessions.status) == (FAIL, "HubClosed", PASS)


@pytest.mark.parametrize(("critical", "code"), [(True, 503), (False, 200)])
async def test_the_server_is_gone_and_comes_back(
    asked: Asked, scratch_server: ServerProcess, outage: Outage, critical: bool, code: int
) -> None:
    """Ready says so, or warns where the service goes on without; live says nothing of it."""
    module, room = (riskscale, "asyncio") if asked.is_async else (riskscale.sync, "blocking")
    patient, hasty, client = asked.monitor(), asked.monitor(cache_seconds=0), client_of(scratch_server, room)
    patient.add_redis(client)
    assert (await asked.health(patient, "ready")).status is PASS
    hasty.add_redis(module.Hub(client), critical=critical, timeout=0.2)
    hasty.add_check("loop", str, groups=("live",))
    outage.begin()
    report = await asked.health(hasty, "ready")
    assert (report.http_status, report.status) == (code, FAIL if critical else WARN)
    assert str(scratch_server.port) not in report.checks[0].output
    assert (await asked.health(hasty, "live")).http_status == 200
    outage.end()
    while (await asked.health(hasty, "ready")).status is not PASS:
        await asyncio.sleep(0.01)
    if asked.is_async:
        await client.aclose()
    else:
        client.close()


def client_of(server: ServerProcess, room: str) -> Any:
    import redis
    import redis.asyncio

    return (redis.asyncio.Redis if room == "asyncio" else redis.Redis).from_url(server.url, socket_timeout=5)
