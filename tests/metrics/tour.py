"""Everything that is counted, done once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import riskscale.sync
from riskscale import (
    BulkheadExecutor,
    BulkheadFull,
    CircuitBreaker,
    CircuitOpen,
    Election,
    Hub,
    IdempotencyGuard,
    InMemoryRateLimitBackend,
    LeaseLost,
    Limit,
    Lock,
    MultiLock,
    RateLimiter,
    ReadWriteLock,
    Semaphore,
    SharedBulkhead,
    TenantRateLimiter,
)

ELSEWHERE = {
    "rate_degraded_seconds",  # only after an outage
    "partitions_owned",
    "partitions_lost",
    "scaling_decisions",
    "scaling_replicas",
    "scaling_replicas_wanted",
    "scaling_apply_failures",
}
"""What is counted in rooms that the tour leaves out."""


async def tour(hub: Hub, metrics: Any) -> None:
    """What is done does not depend on ``metrics``, which the hub has too."""
    await locks(hub)
    await rates(hub, metrics)
    await breakers(hub)
    await bulkheads(hub, metrics)
    guard = IdempotencyGuard(hub)
    assert [await guard.run("t7", "a", b"", lambda _: b"done") for _ in range(2)] == [b"done"] * 2


async def locks(hub: Hub) -> None:
    lock = Lock(hub, "a", ttl=10)
    async with lock, Semaphore(hub, "a", limit=2, ttl=10), ReadWriteLock(hub, "a", ttl=10).read():
        assert await lock.acquire(timeout=0) is None
        waiting = asyncio.create_task(lock.acquire())
        while not (await lock.inspect()).waiting:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with MultiLock(hub, ["b", "c"], ttl=10):
        pass
    async for _ in Election(hub, "a", ttl=10).terms():
        break
    lease = await Lock(hub, "lost", ttl=10).acquire()
    assert lease is not None
    await hub.client.delete(hub.key("lost") + ":lock")
    with pytest.raises(LeaseLost):
        await lease.release()
    await hub.client.set(hub.key("poisoned") + ":lock", "text", px=60_000)
    with pytest.raises(riskscale.StateError):
        await Lock(hub, "poisoned", ttl=10).acquire()


async def rates(hub: Hub, metrics: Any) -> None:
    limiter = RateLimiter(hub, Limit(2, per=60), name="api")
    await limiter.hit_many(["a", "a", "a", ("a", 3)])
    await limiter.wait("b")
    tenants = TenantRateLimiter(InMemoryRateLimitBackend(), 1, 60, metrics)
    assert [await tenants.allow_request("t7") for _ in range(2)] == [True, False]
    blocking = riskscale.sync.TenantRateLimiter(riskscale.sync.InMemoryRateLimitBackend(), 1, 60, metrics)
    assert [blocking.allow_request("t7") for _ in range(2)] == [True, False]


async def breakers(hub: Hub) -> None:
    breaker = CircuitBreaker(1, 60, "payments", redis=hub)
    assert await breaker.call(max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await breaker.call(lambda: 1 / 0)
    with pytest.raises(CircuitOpen):
        await breaker.call(max, 1, 2)


async def bulkheads(hub: Hub, metrics: Any) -> None:
    local, shared = BulkheadExecutor(1, 1, name="db", metrics=metrics), SharedBulkhead(hub, "db", 1, 0)
    opened = asyncio.Event()
    callers = [asyncio.create_task(local.submit(opened.wait)) for _ in range(2)]
    while not local.waiting:
        await asyncio.sleep(0)
    with pytest.raises(BulkheadFull):
        await local.submit(opened.wait)
    opened.set()
    await asyncio.gather(*callers)

    async def loses_its_place() -> str:
        await shared.status()
        await hub.client.delete(hub.key("db") + ":bulkhead")
        return "done"

    assert await shared.submit(loses_its_place) == "done"
