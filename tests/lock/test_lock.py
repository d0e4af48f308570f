"""The lock as its users meet it: trying, waiting, renewing, losing, giving up, being cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import AcquireTimeout, ArgumentError, Hub, LeaseLost, Lock, StateError
from riskscale._core.call import Cleanup, Finish, Listen, Wait
from riskscale.lease import flows
from riskscale.lease.grant import Seen
from riskscale.lock.calls import LockKeys
from riskscale.lock.spec import LockSpec
from riskscale.testing import VirtualClock


async def until_waiting(lock: Lock, many: int) -> None:
    while (await lock.inspect()).waiting < many:
        await asyncio.sleep(0)


async def test_try_hold_release(hub: Hub) -> None:
    lock, other = Lock(hub, "job", ttl=10, metadata="host 7"), Lock(hub, "job", ttl=10)
    lease = await lock.acquire()
    assert lease is not None and 9 < lease.remaining() <= 10
    assert await other.acquire(timeout=0) is None and await other.locked()
    info = await other.inspect()
    assert (info.held, info.claimed, info.owner, info.metadata) == (True, True, lease.token, "host 7")
    await lease.release()
    assert lease.remaining() == 0 and lease.released_at is not None and not await lock.locked()
    await lease.release()  # does nothing
    again = await other.acquire(timeout=0)
    assert again is not None and again.fence > lease.fence and again.token != lease.token
    await again.release()


def test_try_hold_release_in_threads(sync_hub: riskscale.sync.Hub) -> None:
    lock, other = riskscale.sync.Lock(sync_hub, "job", ttl=10), riskscale.sync.Lock(sync_hub, "job", ttl=10)
    with lock as lease:
        assert other.acquire(timeout=0) is None
        lease.renew(20)
        assert 19 < lease.remaining() <= 20
    with other.hold(timeout=1) as second:
        assert second.fence > lease.fence
        with pytest.raises(AcquireTimeout), lock.hold(timeout=0):
            pass
    with pytest.raises(LeaseLost):
        second.renew()


async def test_waiters_are_served_in_order(hub: Hub) -> None:
    lock, order = Lock(hub, "job", ttl=10), list[int]()

    async def work(number: int) -> None:
        async with lock.hold():
            order.append(number)

    async with lock.hold():
        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(work(number)))
            await until_waiting(lock, number + 1)
        assert await Lock(hub, "job", ttl=1).acquire(timeout=0) is None
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]


async def test_nobody_barges_past_a_waiter(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=10)
    lease = await lock.acquire()
    assert lease is not None
    waiter = asyncio.create_task(lock.acquire())
    await until_waiting(lock, 1)
    await lease.release()
    assert await lock.acquire(timeout=0) is None
    granted = await waiter
    assert granted is not None
    await granted.release()


async def test_a_wait_that_runs_out_leaves_the_queue(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=10, wait=0.05)
    async with lock.hold() as lease:
        assert await lock.acquire(timeout=0.05) is None
        with pytest.raises(AcquireTimeout) as caught:
            async with lock:
                pass
        assert (caught.value.name, caught.value.timeout) == ("job", 0.05)
        info = await lock.inspect()
        assert (info.waiting, info.owner) == (0, lease.token)


async def test_a_cancelled_waiter_leaves_nothing(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=10)
    async with lock.hold():
        waiter = asyncio.create_task(lock.acquire())
        await until_waiting(lock, 1)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert (await lock.inspect()).waiting == 0
    assert not await lock.locked()


class Interrupting:
    """A client that cuts in before the send or after the reply of the nth EVALSHA."""

    def __init__(self, client: Any, when: str, nth: int, cut: Any) -> None:
        self.client, self.when, self.nth, self.cut, self.calls = client, when, nth, cut, 0

    async def execute_command(self, *words: Any) -> Any:
        return await self.client.execute_command(*words)

    async def eval(self, *words: Any) -> Any:
        return await self.client.eval(*words)

    async def evalsha(self, *words: Any) -> Any:
        self.calls += 1
        if self.calls == self.nth and self.when == "before":
            self.cut()
            await asyncio.sleep(0)
        reply = await self.client.evalsha(*words)
        if self.calls == self.nth and self.when == "after":
            self.cut()
            await asyncio.sleep(0)
        return reply


def fail() -> None:
    raise redis.ConnectionError("cut")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_cancelled_acquire_is_given_back(client: Any, prefix: str, when: str) -> None:
    holder: list[asyncio.Task[Any]] = []
    cutting = Interrupting(client, when, 1, lambda: holder[0].cancel())  # noqa: PLW0108 - the task comes later
    hub, other = Hub(cutting, key_prefix=prefix), Hub(client, key_prefix=prefix)
    await other.preload()
    holder.append(asyncio.create_task(Lock(hub, "job", ttl=60).acquire()))
    with pytest.raises(asyncio.CancelledError):
        await holder[0]
    await hub.aclose()
    assert not await Lock(other, "job", ttl=60).locked()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failed_acquire_is_given_back(client: Any, prefix: str, when: str) -> None:
    hub, other = Hub(Interrupting(client, when, 1, fail), key_prefix=prefix), Hub(client, key_prefix=prefix)
    await other.preload()
    with pytest.raises(redis.ConnectionError):
        await Lock(hub, "job", ttl=60).acquire()
    assert not await Lock(other, "job", ttl=60).locked()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failed_release_can_be_repeated(client: Any, prefix: str, when: str) -> None:
    hub = Hub(Interrupting(client, when, 2, fail), key_prefix=prefix)
    await hub.preload() if hasattr(hub.client, "script_load") else await Hub(client).preload()
    lock = Lock(hub, "job", ttl=60)
    lease = await lock.acquire()
    assert lease is not None
    with pytest.raises(redis.ConnectionError):
        await lease.release()
    await lease.release()
    assert not await lock.locked() and lease.released_at is not None


async def test_a_failed_renewal_promises_nothing_new(client: Any, prefix: str) -> None:
    hub = Hub(Interrupting(client, "after", 2, fail), key_prefix=prefix)
    await Hub(client).preload()
    lease = await Lock(hub, "job", ttl=5).acquire()
    assert lease is not None
    with pytest.raises(redis.ConnectionError):
        await lease.renew(100)
    assert lease.remaining() <= 5
    await lease.renew(100)
    assert lease.remaining() > 99
    await lease.release()


async def test_a_lost_lease_is_never_silent(client: Any, prefix: str) -> None:
    clock = VirtualClock()
    hub = Hub(client, key_prefix=prefix, clock=clock)
    lock = Lock(hub, "job", ttl=1)
    for act in ("renew", "release"):
        lease = await lock.acquire(timeout=0)
        assert lease is not None
        clock.advance(1)
        with pytest.raises(LeaseLost) as caught:
            await getattr(lease, act)()
        assert caught.value.fence == lease.fence and lease.remaining() == 0
        with pytest.raises(LeaseLost):
            await lease.release()
    with pytest.raises(LeaseLost):
        async with lock:
            clock.advance(2)
    with pytest.raises(ZeroDivisionError):
        async with lock:
            clock.advance(2)
            1 / 0  # noqa: B018


async def test_a_second_holder_after_the_lease_is_not_harmed_by_the_first(client: Any, prefix: str) -> None:
    clock = VirtualClock()
    hub = Hub(client, key_prefix=prefix, clock=clock)
    lock = Lock(hub, "job", ttl=1)
    first = await lock.acquire(timeout=0)
    clock.advance(1)
    second = await lock.acquire(timeout=0)
    assert first is not None and second is not None and second.fence > first.fence
    with pytest.raises(LeaseLost):
        await first.release()
    assert (await lock.inspect()).owner == second.token
    await second.release()


@pytest.mark.embedded
async def test_who_is_cancelled_with_the_lease_in_hand_gives_it_back(hub: Hub, connect: Any) -> None:
    """A bare client ends its subscription at the end of a wait: that, too, may be when it is cancelled."""

    async def work(lock: Lock) -> None:
        async with lock:
            await asyncio.Event().wait()

    for turns in range(20):
        name = f"{hub.root}:{turns}"
        theirs, mine = Lock(connect(), name, ttl=30), Lock(connect(), name, ttl=30, wait=30)
        lease = await theirs.acquire()
        assert lease is not None
        task = asyncio.create_task(work(mine))
        await until_waiting(theirs, 1)
        await lease.release()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert not await theirs.locked(), f"left held by nobody, after {turns} turns"


async def test_a_block_must_be_left_where_it_was_entered(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=10)
    lease = await lock.__aenter__()
    with pytest.raises(StateError, match="already entered"):
        await lock.__aenter__()

    async def elsewhere() -> None:
        await lock.__aexit__(None, None, None)

    with pytest.raises(StateError, match="must be left"):
        await asyncio.create_task(elsewhere())
    assert (await lock.inspect()).owner == lease.token
    await lock.__aexit__(None, None, None)
    assert not await lock.locked()


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("ttl", {"ttl": 0}), ("ttl", {"ttl": 0.0009}), ("ttl", {"ttl": -1}), ("ttl", {"ttl": float("nan")}),
        ("ttl", {"ttl": float("inf")}), ("ttl", {"ttl": 1e9}), ("ttl", {"ttl": "1"}), ("ttl", {"ttl": True}),
        ("wait", {"ttl": 1, "wait": -1}), ("metadata", {"ttl": 1, "metadata": "é" * 600}),
        ("name", {"name": "", "ttl": 1}),
        ("name", {"name": b"a", "ttl": 1}), ("name", {"name": "\ud800", "ttl": 1}), ("tag", {"ttl": 1, "tag": ""}),
    ],
)  # fmt: skip
async def test_bad_input_names_the_argument(hub: Hub, argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        Lock(hub, **{"name": "job", **options})
    assert caught.value.argument == argument


def test_a_bad_ttl_is_told_what_is_good(hub: Hub) -> None:
    for bad in (0, -1, 1e9, float("inf")):
        with pytest.raises(ArgumentError, match=rf"ttl must be from 0\.001 to 31622400 seconds, not {bad}"):
            Lock(hub, "job", ttl=bad)


async def test_bad_times_are_refused_before_anything_is_sent(hub: Hub, raw_client: Any, prefix: str) -> None:
    lock = Lock(hub, "job", ttl=1)
    for bad in (-1, float("nan"), "1"):
        with pytest.raises(ArgumentError, match="timeout"):
            await lock.acquire(timeout=bad)  # type: ignore[arg-type]
    assert not list(raw_client.scan_iter(f"{prefix}*"))


async def test_a_key_of_another_type_is_a_state_error(hub: Hub, raw_client: Any, prefix: str) -> None:
    raw_client.set(f"{prefix}rs1:{{job}}:lock", "mine", px=60_000)
    for act in (Lock(hub, "job", ttl=1).acquire, Lock(hub, "job", ttl=1).inspect):
        with pytest.raises(StateError):
            await act()
    assert raw_client.get(f"{prefix}rs1:{{job}}:lock") == b"mine"


# The flow alone: no socket, no loop, a clock of its own.

SPEC = LockSpec(name="job", keys=LockKeys.of("rs1:{job}"), ttl_us=1_000_000)


def seen(acquired: bool, fence: int = 7, wait: float = 0.5) -> Seen:
    return Seen(acquired, fence, wait, -1, 0.0)


def test_the_deadline_counts_from_the_send() -> None:
    clock = [100.0]
    flow = flows.acquire(SPEC, None, lambda: clock[0], lambda grant: grant)
    assert isinstance(next(flow), Listen) and isinstance(flow.send("box"), Finish)
    clock[0] = 100.4
    with pytest.raises(StopIteration) as end:
        flow.send(seen(True))
    assert end.value.value.deadline == 101.0


def test_a_reply_that_comes_too_late_is_renewed_once_or_given_back() -> None:
    clock = [100.0]
    flow = flows.acquire(SPEC, 0, lambda: clock[0], lambda grant: grant)
    next(flow)
    clock[0] = 102.0
    step = flow.send(seen(True))
    assert isinstance(step, Finish) and step.call.script == "lock.renew"
    with pytest.raises(StopIteration) as end:
        flow.send([7])
    assert end.value.value.deadline == 103.0

    flow = flows.acquire(SPEC, 0, lambda: clock[0], lambda grant: grant)
    next(flow)
    clock[0] += 2
    flow.send(seen(True))
    step = flow.send([0])  # lost meanwhile
    assert isinstance(step, Cleanup) and step.call.script == "lock.release"
    with pytest.raises(StopIteration) as end:
        flow.send(None)
    assert end.value.value is None


def test_a_waiter_sleeps_no_longer_than_it_may() -> None:
    clock = [100.0]
    flow = flows.acquire(SPEC, 0.7, lambda: clock[0], lambda grant: grant)
    assert isinstance(next(flow), Listen)
    step = flow.send("")
    assert isinstance(step, Finish) and step.call.args[2] == "", "no channel yet: it polls"
    assert flow.send(seen(False)) == Wait(0.5)
    clock[0] = 100.1
    assert isinstance(flow.send(""), Listen)
    step = flow.send("box")
    assert isinstance(step, Finish) and step.call.args[2] == "box"
    assert flow.send(seen(False)) == Wait(0.5)
    clock[0] = 100.3
    assert flow.send("250000") == Wait(0.25), "told to stand by, it asks nothing"
    clock[0] = 100.4
    assert isinstance(flow.send("grant"), Listen) and isinstance(flow.send("box"), Finish)
    step = flow.send(seen(False))
    assert isinstance(step, Wait) and step.seconds == pytest.approx(0.3)
    clock[0] = 100.7
    assert isinstance(flow.send(""), Listen) and isinstance(flow.send("box"), Finish), "one last look"
    assert isinstance(flow.send(seen(False)), Cleanup)
    with pytest.raises(StopIteration):
        flow.send(None)
