"""The names that riskscale's predecessor gave out: their signatures and what they promise."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

import riskscale
import riskscale.sync
from riskscale import (
    ArgumentError,
    BulkheadExecutor,
    BulkheadFull,
    DistributedLock,
    Hub,
    InMemoryLockBackend,
    InMemoryMetrics,
    InMemoryRateLimitBackend,
    Lock,
    LuaLockBackend,
    RedisRateLimitBackend,
    TenantRateLimiter,
)
from riskscale.testing import VirtualClock
from riskscale.typing import RateLimitBackend, RedisLockBackend


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "lua"])
def lock_backend(request: pytest.FixtureRequest, client: Any, prefix: str, clock: VirtualClock) -> RedisLockBackend:
    if request.param == "memory":
        return InMemoryLockBackend(clock)
    return LuaLockBackend(Hub(client, key_prefix=prefix, clock=clock))


@pytest.fixture(params=["memory", "lua"])
def rate_backend(request: pytest.FixtureRequest, client: Any, prefix: str, clock: VirtualClock) -> RateLimitBackend:
    if request.param == "memory":
        return InMemoryRateLimitBackend(clock)
    return RedisRateLimitBackend(Hub(client, key_prefix=prefix, clock=clock))


async def test_a_second_acquire_keeps_the_first_token(lock_backend: RedisLockBackend) -> None:
    assert isinstance(lock_backend, RedisLockBackend)
    lock, other = DistributedLock(lock_backend), DistributedLock(lock_backend)
    assert await lock.acquire("job", 10)
    token = await lock_backend.get("job")
    assert not await lock.acquire("job", 10) and not await other.acquire("job", 10)
    assert await lock_backend.get("job") == token
    await other.release("job")  # never acquired: nothing
    await lock.release("unknown")
    assert not await other.acquire("job", 10)
    await lock.release("job")
    assert await lock_backend.get("job") is None and await other.acquire("job", 10)
    await lock.release("job")
    assert await lock_backend.get("job") is not None
    await other.release("job")


async def test_a_lease_that_ran_out_can_be_taken(lock_backend: RedisLockBackend, clock: VirtualClock) -> None:
    lock, other = DistributedLock(lock_backend), DistributedLock(lock_backend)
    assert await lock.acquire("job", timedelta(seconds=1))
    clock.advance(1)
    assert await other.acquire("job", 1)
    await lock.release("job")
    assert not await lock.acquire("job", 1), "a late release took another's lock"
    clock.advance(1)
    assert await lock.acquire("job", 1)


async def test_both_kinds_of_lock_exclude_each_other(client: Any, prefix: str) -> None:
    hub = Hub(client, key_prefix=prefix)
    keyed, lock = DistributedLock(LuaLockBackend(hub)), Lock(hub, "job", ttl=10)
    assert await keyed.acquire("job", 10) and await lock.acquire(timeout=0) is None
    await keyed.release("job")
    async with lock:
        assert not await keyed.acquire("job", 10)


async def test_an_exception_of_the_backend_passes_and_keeps_the_token() -> None:
    class Flaky(InMemoryLockBackend):
        broken = True

        async def delete_if_value(self, key: str, value: str) -> bool:
            if self.broken:
                raise ConnectionError("no")
            return await super().delete_if_value(key, value)

    backend = Flaky()
    lock = DistributedLock(backend)
    assert await lock.acquire("job", 10)
    with pytest.raises(ConnectionError):
        await lock.release("job")
    Flaky.broken = False
    await lock.release("job")
    assert await backend.get("job") is None


@pytest.mark.parametrize(
    ("argument", "key", "ttl"), [("key", "", 1), ("ttl", "a", 0), ("ttl", "a", -1), ("key", b"", 1)]
)
async def test_bad_input_names_the_argument(argument: str, key: Any, ttl: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        await DistributedLock(InMemoryLockBackend()).acquire(key, ttl)
    assert caught.value.argument == argument


async def test_exactly_the_limit_passes_and_refusals_are_counted(
    rate_backend: RateLimitBackend, clock: VirtualClock
) -> None:
    assert isinstance(rate_backend, RateLimitBackend)
    metrics = InMemoryMetrics()
    limiter = TenantRateLimiter(rate_backend, 100, 60, metrics)
    allowed = await asyncio.gather(*(limiter.allow_request("t1") for _ in range(150)))
    assert sum(allowed) == 100 and await limiter.allow_request("t2")
    assert metrics.total("rate_limit_exceeded", tenant_id="t1") == len(metrics.events()) == 50
    assert await rate_backend.get_current_count("rate:tenant:t1") == 100  # type: ignore[attr-defined]
    clock.advance(60)
    assert await limiter.allow_request("t1")


async def test_incr_window_counts_every_request(rate_backend: RateLimitBackend, clock: VirtualClock) -> None:
    assert [await rate_backend.incr_window("a", 10) for _ in range(3)] == [1, 2, 3]
    clock.advance(10)
    assert await rate_backend.incr_window("a", 10) == 1


async def test_a_backend_of_ones_own_sees_the_key() -> None:
    class Mine:
        keys: list[str] = []  # noqa: RUF012

        async def incr_window(self, key: str, window_seconds: float) -> int:
            self.keys.append(key)
            return len(self.keys)

    limiter = TenantRateLimiter(Mine(), 1, 10)
    assert [await limiter.allow_request("t"), await limiter.allow_request("t")] == [True, False]
    assert Mine.keys == ["rate:tenant:t"] * 2


def test_the_blocking_forms(sync_client: Any, prefix: str, clock: VirtualClock) -> None:
    hub = riskscale.sync.Hub(sync_client, key_prefix=prefix, clock=clock)
    for backend in (riskscale.sync.InMemoryLockBackend(clock), riskscale.sync.LuaLockBackend(hub)):
        lock, other = riskscale.sync.DistributedLock(backend), riskscale.sync.DistributedLock(backend)
        assert lock.acquire("job", 10) and not other.acquire("job", 10) and backend.get("job")
        lock.release("job")
        assert other.acquire("job", 10)
        other.release("job")
    for windows in (riskscale.sync.InMemoryRateLimitBackend(clock), riskscale.sync.RedisRateLimitBackend(hub)):
        metrics = InMemoryMetrics()
        limiter = riskscale.sync.TenantRateLimiter(windows, 2, 10, metrics)
        assert [limiter.allow_request("t") for _ in range(3)] == [True, True, False]
        assert windows.get_current_count("rate:tenant:t") == 2 and windows.incr_window("b", 10) == 1
        assert len(metrics.events("rate_limit_exceeded")) == 1


def test_memory_is_bounded_by_what_is_alive(clock: VirtualClock) -> None:
    backend = riskscale.sync.InMemoryRateLimitBackend(clock)
    for number in range(10_000):
        backend.try_window(str(number), 1, 1)
        clock.advance(0.1)
    assert len(backend._windows._states) < 200


@pytest.mark.parametrize(("max_concurrent", "max_queued"), [(1, 0), (2, 0), (1, 1), (3, 5)])
async def test_running_and_waiting_never_exceed_the_sum(max_concurrent: int, max_queued: int) -> None:
    bulkhead, opened, now, most = BulkheadExecutor(max_concurrent, max_queued), asyncio.Event(), 0, 0

    async def task(number: int, *, factor: int) -> int:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await opened.wait()
        now -= 1
        return number * factor

    callers = [asyncio.create_task(bulkhead.submit(task, number, factor=2)) for number in range(20)]
    while sum(caller.done() for caller in callers) < 20 - max_concurrent - max_queued:
        await asyncio.sleep(0)
    assert (bulkhead.running, bulkhead.waiting) == (max_concurrent, max_queued)
    opened.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    passed = max_concurrent + max_queued
    assert outcomes[:passed] == [2 * number for number in range(passed)] and most == max_concurrent
    for error in outcomes[passed:]:
        assert isinstance(error, BulkheadFull) and isinstance(error, RuntimeError)
        assert str(error) == "Bulkhead: max concurrent and queue full"
    assert await bulkhead.submit(task, 7, factor=1) == 7, "there is room again"


async def test_a_failed_or_cancelled_task_gives_its_place_back() -> None:
    bulkhead = BulkheadExecutor(1, 0)

    async def task(fails: bool) -> None:
        if fails:
            raise OSError("no")
        await asyncio.Event().wait()

    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            await bulkhead.submit(task, True)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await bulkhead.submit(task, False)


def test_the_blocking_bulkhead() -> None:
    bulkhead, opened = riskscale.sync.BulkheadExecutor(1, 0), threading.Event()
    thread = threading.Thread(target=bulkhead.submit, args=(opened.wait, 60))
    thread.start()
    while not bulkhead.running:
        threading.Event().wait(0.001)
    with pytest.raises(BulkheadFull, match="Bulkhead: max concurrent and queue full"):
        bulkhead.submit(max, 1, 2)
    opened.set()
    thread.join()
    assert bulkhead.submit(max, 1, 2) == 2
