"""A failure before the send, after it, or after the reply, at each call of acquiring, renewing and releasing.

Afterwards a lock is held and known, or free with nobody in its queue, long before its lease of an hour would end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
import redis

from riskscale import Hub, LeaseLost, Lock, MultiLock, ReadWriteLock, Semaphore

SOON = 10.0
Make = Callable[[Hub], Any]
KINDS: dict[str, Make] = {
    "lock": lambda hub: Lock(hub, "a", ttl=3600, tag="t"),
    "race": lambda hub: Lock(hub, "a", ttl=3600, tag="t", fair=False),
    "multi": lambda hub: MultiLock(hub, ["a", "b"], ttl=3600, tag="t"),
    "semaphore": lambda hub: Semaphore(hub, "a", limit=1, ttl=3600, tag="t"),
    "writer": lambda hub: ReadWriteLock(hub, "a", ttl=3600, tag="t").write(),
}


def in_the_way(hub: Hub, kind: str) -> Any:
    """What has to be released first."""
    return KINDS[kind](hub) if kind in ("semaphore", "writer") else Lock(hub, "a", ttl=3600, tag="t")


def looks(hub: Hub) -> list[Any]:
    """All that the kinds can leave behind."""
    locks = [Lock(hub, name, ttl=1, tag="t") for name in "ab"]
    return [*locks, Semaphore(hub, "a", limit=1, ttl=1, tag="t"), ReadWriteLock(hub, "a", ttl=1, tag="t")]


POINTS = ["error before the send", "error after the send", "cancelled before", "cancelled under way", "cancelled after"]


BYSTANDER: ContextVar[bool] = ContextVar("BYSTANDER", default=False)


class Failing:
    """The client's evalsha, which fails once, at the nth call of all but bystanders, in one of these ways."""

    def __init__(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real, self.calls, self.at, self.point, self.caller = hub.client.evalsha, 0, 0, "", None
        monkeypatch.setattr(hub.client, "evalsha", self)

    def next(self, at: int, point: str, caller: asyncio.Task[Any]) -> None:
        self.calls, self.at, self.point, self.caller = 0, at, point, caller

    async def __call__(self, *args: Any) -> Any:
        self.calls += not BYSTANDER.get()
        if self.calls != self.at or BYSTANDER.get():
            return await self.real(*args)
        if self.point == "error before the send":
            raise redis.ConnectionError("never sent")
        if self.point == "cancelled before":
            self.caller.cancel()
            await asyncio.sleep(0)
        if self.point == "cancelled under way":
            call = asyncio.ensure_future(self.real(*args))
            await asyncio.sleep(0)
            self.caller.cancel()
            return await call
        reply = await self.real(*args)
        if self.point == "error after the send":
            raise redis.TimeoutError("no reply")
        if self.point == "cancelled after":
            self.caller.cancel()
        return reply


async def settled(hub: Hub) -> None:
    """Free, with nobody in the queue: at once, or as soon as what runs in the background is done."""

    async def wait() -> None:
        for each in looks(hub):
            while (info := await each.inspect()).held or info.waiting:
                await asyncio.sleep(0.001)

    await asyncio.wait_for(wait(), SOON)


@pytest.fixture
async def failing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Failing:
    await hub.preload()
    return Failing(hub, monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("point", POINTS)
async def test_acquiring_a_free_one(hub: Hub, failing: Failing, kind: str, point: str) -> None:
    task = asyncio.create_task(KINDS[kind](hub).acquire())
    failing.next(1, point, task)
    await asyncio.wait({task})
    assert task.cancelled() or isinstance(task.exception(), redis.RedisError)
    await settled(hub)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("point", POINTS)
async def test_acquiring_one_that_is_held(hub: Hub, failing: Failing, kind: str, point: str, at: int) -> None:
    """The calls of waiting: joining, looking, claiming; the holder lets go as soon as the queue is seen to move."""
    held = await in_the_way(hub, kind).acquire()
    assert held is not None
    task = asyncio.create_task(KINDS[kind](hub).acquire(timeout=SOON))
    failing.next(at, point, task)
    for _ in range(100):
        await asyncio.sleep(0)
    BYSTANDER.set(True)
    await held.release()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None:
        lease = task.result()
        assert lease is not None and lease.remaining() > 0
        assert lease.fences["a"] in [(await each.inspect()).fence for each in looks(hub)], "held and known"
        await lease.release()
    await settled(hub)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("point", POINTS)
async def test_renewing(hub: Hub, failing: Failing, kind: str, point: str) -> None:
    lease = await KINDS[kind](hub).acquire()
    task = asyncio.create_task(lease.renew(7200))
    failing.next(1, point, task)
    await asyncio.wait({task})
    assert task.cancelled() or isinstance(task.exception(), redis.RedisError)
    assert 0 < lease.remaining() <= 3600, "what may not have happened is not counted on"
    await lease.renew(7200)
    assert lease.remaining() > 3600
    await lease.release()
    await settled(hub)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("point", POINTS)
async def test_releasing(hub: Hub, failing: Failing, kind: str, point: str) -> None:
    lease = await KINDS[kind](hub).acquire()
    task = asyncio.create_task(lease.release())
    failing.next(1, point, task)
    await asyncio.wait({task})
    assert task.cancelled() or isinstance(task.exception(), redis.RedisError)
    await asyncio.wait_for(lease.release(), SOON)  # again, until it is known
    assert lease.released_at is not None
    await settled(hub)


@pytest.mark.parametrize("point", ["error before the send", "error after the send"])
async def test_where_giving_back_fails_too_it_ends_with_its_lease(hub: Hub, monkeypatch: Any, point: str) -> None:
    await hub.preload()
    real, broken = hub.client.evalsha, True

    async def evalsha(*args: Any) -> Any:
        if broken and point == "error before the send":
            raise redis.ConnectionError("never sent")
        reply = await real(*args)
        if broken:
            raise redis.TimeoutError("no reply")
        return reply

    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    with pytest.raises(redis.RedisError):
        await Lock(hub, "a", ttl=0.2, tag="t").acquire()
    broken = False
    await settled(hub)


async def test_an_expired_one_is_neither_renewed_nor_released(hub: Hub) -> None:
    lease = await Lock(hub, "a", ttl=0.05, tag="t").acquire()
    assert lease is not None
    await settled(hub)
    with pytest.raises(LeaseLost):
        await lease.renew()
    with pytest.raises(LeaseLost):
        await lease.release()
    assert not await Lock(hub, "a", ttl=1, tag="t").locked()
