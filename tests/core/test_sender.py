"""Calls of one turn of the event loop travel in one pipeline; each is decided, fails and is given up by itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import types
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from riskscale import Hub, HubClosed, IdempotencyGuard, Lease, Limit, Lock, RateLimiter, StateError
from riskscale._core.sender import MOST
from riskscale.idempotency.guard import Claim

PATIENCE = 60.0


class Wire:
    """What a client sent: the number of commands of each pipeline, and 1 for each call that went alone."""

    def __init__(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[int] = []
        self.error: Exception | None = None
        self._pipeline, self._evalsha = client.pipeline, client.evalsha
        monkeypatch.setattr(client, "pipeline", self.pipeline)
        monkeypatch.setattr(client, "evalsha", self.evalsha)

    async def evalsha(self, *words: Any) -> Any:
        self.sent.append(1)
        return await self._evalsha(*words)

    def pipeline(self, **options: Any) -> Any:
        pipeline = self._pipeline(**options)
        execute = pipeline.execute

        async def executed(**how: Any) -> Any:
            self.sent.append(len(pipeline.command_stack))
            if self.error is not None:
                raise self.error
            return await execute(**how)

        pipeline.execute = executed
        return pipeline


@pytest.fixture
async def wire(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Wire:
    await hub.preload()
    return Wire(hub.client, monkeypatch)


def locks(hub: Hub, count: int) -> list[Lock]:
    return [Lock(hub, f"job-{number}", ttl=60) for number in range(count)]


async def acquired(several: list[Lock]) -> list[Lease | BaseException | None]:
    return await asyncio.gather(*(lock.acquire(timeout=5) for lock in several), return_exceptions=True)


async def test_many_tasks_need_one_round_trip(hub: Hub, wire: Wire) -> None:
    leases = await acquired(locks(hub, 20))
    assert wire.sent == [20] and all(isinstance(lease, Lease) for lease in leases)
    await asyncio.gather(*(lease.release() for lease in leases if isinstance(lease, Lease)))
    assert wire.sent == [20, 20]


async def test_who_is_alone_sends_no_pipeline(hub: Hub, wire: Wire) -> None:
    async with Lock(hub, "job", ttl=60).hold():
        assert await RateLimiter(hub, Limit(5, per=60)).hit("a")
    assert wire.sent == [1, 1, 1]


async def test_a_crowd_is_divided(hub: Hub, wire: Wire) -> None:
    await acquired(locks(hub, 2 * MOST + 1))
    assert sorted(wire.sent) == [1, MOST, MOST]


async def test_different_scripts_travel_together(hub: Hub, wire: Wire) -> None:
    limiter, guard = RateLimiter(hub, Limit(5, per=60), coalesce=False), IdempotencyGuard(hub)
    lease, decision, claim = await asyncio.gather(
        Lock(hub, "job", ttl=60).acquire(), limiter.hit("a"), guard.begin("tenant", "key", "asked for")
    )
    assert lease and decision.remaining == 4 and isinstance(claim, Claim) and sum(wire.sent) == 3
    assert max(wire.sent) > 1, "a hit joins those that are about to leave"


@pytest.mark.owns_server
async def test_a_script_that_the_server_does_not_know_is_sent_along(hub: Hub, wire: Wire, raw_client: Any) -> None:
    raw_client.script_flush()
    await hub.preload(["lock.acquire"])
    guard, several = IdempotencyGuard(hub), locks(hub, 3)
    begun = (guard.begin("tenant", f"key-{number}", "x") for number in range(3))
    results = await asyncio.gather(*(lock.acquire() for lock in several), *begun)
    assert [type(each) for each in results] == [Lease] * 3 + [Claim] * 3
    assert wire.sent == [6, 3], "only what was unknown is sent again"


async def test_each_has_its_own_error(hub: Hub, wire: Wire, raw_client: Any) -> None:
    several = locks(hub, 5)
    raw_client.set(several[2]._spec.key, "something else", ex=60)
    leases = await acquired(several)
    assert [type(each) for each in leases] == [Lease, Lease, StateError, Lease, Lease] and wire.sent[0] == 5


async def test_a_connection_that_fails_fails_for_all(hub: Hub, wire: Wire) -> None:
    wire.error = redis.ConnectionError("gone")
    wire.error.__cause__ = OSError("refused")
    limiter = RateLimiter(hub, Limit(5, per=60), coalesce=False)
    errors = await asyncio.gather(*(lock.acquire() for lock in locks(hub, 4)), limiter.hit("a"), return_exceptions=True)
    assert [type(error) for error in errors] == [redis.ConnectionError] * 5
    assert len({id(error) for error in errors}) == 5, "one for each: who raises it adds to its traceback"
    assert all(isinstance(error, redis.ConnectionError) and str(error.__cause__) == "refused" for error in errors)
    wire.error = None
    assert all(isinstance(each, Lease) for each in await acquired(locks(hub, 4)))


async def test_who_is_cancelled_takes_nobody_along_and_keeps_nothing(hub: Hub, wire: Wire) -> None:
    several = locks(hub, 6)
    tasks = [asyncio.create_task(lock.acquire()) for lock in several]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert wire.sent[0] == 6, "what was begun is sent, so that its outcome is known"
    assert [type(each) for each in done] == [asyncio.CancelledError, Lease] * 3
    for lock, task in zip(several, tasks, strict=True):
        assert await lock.locked() is not task.cancelled()


async def test_a_release_that_is_cancelled_goes_through(hub: Hub) -> None:
    several = locks(hub, 4)
    leases = [lease for lease in await acquired(several) if isinstance(lease, Lease)]
    tasks = [asyncio.create_task(lease.release()) for lease in leases]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    async def free() -> None:
        while any([await lock.locked() for lock in several]):
            await asyncio.sleep(0.001)

    await asyncio.wait_for(free(), PATIENCE)


async def test_a_hub_that_closes_leaves_nobody_waiting(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def execute_command(self, *words: Any) -> None: ...
        async def execute(self, **_: Any) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(hub.client, "pipeline", lambda **_: Silent())
    asked = [asyncio.create_task(lock.acquire()) for lock in locks(hub, 3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = [asyncio.create_task(lock.acquire()) for lock in locks(hub, 3)]
    await asyncio.sleep(0)
    await hub.aclose(timeout=0)
    for task in (*asked, *late):
        with pytest.raises(HubClosed):
            await asyncio.wait_for(task, PATIENCE)


async def test_a_task_that_was_cancelled_before_it_began_carries_nobody(hub: Hub, wire: Wire) -> None:
    """As at the end of asyncio.run(), which cancels all tasks, while others still release what they hold."""
    held = await Lock(hub, "held", ttl=60).acquire()
    asked = asyncio.create_task(Lock(hub, "job", ttl=60).acquire())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    assert held is not None
    await asyncio.wait_for(held.release(), PATIENCE)
    await asyncio.wait({asked})
    assert asked.cancelled()
    assert await asyncio.wait_for(Lock(hub, "held", ttl=60).acquire(timeout=0), PATIENCE)


async def test_a_task_that_begins_at_once_carries_what_it_was_made_for(hub: Hub, wire: Wire) -> None:
    """As by asyncio.eager_task_factory."""
    spawn = hub.spawn

    @types.coroutine
    def resumed(work: Any, future: Any) -> Iterator[Any]:
        with contextlib.suppress(StopIteration):
            while True:
                yield future
                future = work.send(None)

    hub.spawn = lambda work: spawn(resumed(work, work.send(None)))  # type: ignore[method-assign, assignment, arg-type]
    leases = await asyncio.wait_for(acquired(locks(hub, 3)), PATIENCE)
    assert all(isinstance(each, Lease) for each in leases)


async def test_a_hit_that_was_given_up_before_it_left_is_not_charged(
    connect: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, gate = connect(), asyncio.Event()
    monkeypatch.setattr(client, "ping", gate.wait)
    async with Hub(client, key_prefix=prefix, max_in_flight=1) as hub:
        limiter = RateLimiter(hub, Limit(9, per=60), coalesce=False)
        pinging = asyncio.create_task(hub.ping())
        await asyncio.sleep(0)
        lock = asyncio.create_task(Lock(hub, "job", ttl=60).acquire())
        hit = asyncio.create_task(limiter.hit("a"))
        for _ in range(5):
            await asyncio.sleep(0)
        hit.cancel()
        gate.set()
        await asyncio.wait({pinging, lock, hit})
        assert hit.cancelled() and lock.result() and (await limiter.peek("a")).remaining == 9


@pytest.mark.owns_server
async def test_what_is_known_stays_known_when_the_rest_goes_wrong(
    hub: Hub, wire: Wire, raw_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that the server does not know is sent again, and that time the connection is lost."""
    raw_client.script_flush()
    await hub.preload(["lock.acquire"])
    pipeline, guard = hub.client.pipeline, IdempotencyGuard(hub)

    def once(**options: Any) -> Any:
        wire.error = redis.ConnectionError("gone") if wire.sent else None
        return pipeline(**options)

    monkeypatch.setattr(hub.client, "pipeline", once)
    lease, claim = await asyncio.gather(
        Lock(hub, "job", ttl=60).acquire(), guard.begin("tenant", "key", "x"), return_exceptions=True
    )
    assert isinstance(lease, Lease) and isinstance(claim, redis.ConnectionError)


async def test_a_hub_that_rests_keeps_nothing_of_what_it_sent(hub: Hub, wire: Wire) -> None:
    await acquired(locks(hub, 3))
    await asyncio.sleep(0)
    assert not hub._sender._asks and hub._sender._carrier is None


@pytest.mark.server
async def test_nothing_is_left_to_the_garbage_collector(hub: Hub) -> None:
    """Circles are found late, and by stopping everything."""
    limiter, guard = RateLimiter(hub, Limit(1000, per=60)), IdempotencyGuard(hub)

    async def everything(number: int) -> None:
        await limiter.hit(f"tenant-{number}")
        async with Lock(hub, f"job-{number}", ttl=60).hold(timeout=5):
            await guard.run("tenant", f"key-{number}", "asked for", lambda _: b"done")

    await asyncio.gather(*map(everything, range(8)))
    gc.collect()
    gc.disable()
    try:
        for first in range(100, 200, 20):
            await asyncio.gather(*map(everything, range(first, first + 20)))
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = [each for each in gc.garbage if type(each).__module__.startswith("riskscale")]
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
    assert not ours
