"""Reservations as their users meet them."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import ArgumentError, Hub, Limit, RateLimiter, RateLimitExceeded, StateError
from riskscale.rate.limit import ALGORITHMS
from riskscale.testing import ServerProcess, VirtualClock

PACED = Limit(1, per=10, algorithm="gcra")
QUICK = Limit(1, per=0.1, algorithm="gcra")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def timed(client: Any, prefix: str, clock: VirtualClock) -> Hub:
    """A hub in virtual time."""
    hub = Hub(client, key_prefix=prefix, clock=clock)
    hub.monotonic = lambda: clock() / 1e6
    return hub


def server_time(client: Any) -> float:
    seconds, micro = client.time()
    return float(seconds + micro / 1e6)


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_a_queue_of_starts(timed: Hub, clock: VirtualClock) -> None:
    limiter = RateLimiter(timed, PACED)
    began = clock() / 1e6
    made = [await limiter.reserve("a") for _ in range(3)]
    assert all(made) and [round(each.start - began, 6) for each in made] == [0, 10, 20]
    assert [round(each.delay(), 6) for each in made] == [0, 10, 20]
    assert not await limiter.hit("a") and await limiter.hit("b")
    refused = await limiter.reserve("a", max_wait=12.5)
    assert not refused and refused.decision.retry_after == 17.5 and refused.delay() == math.inf
    assert round(refused.start - began, 6) == 30
    with pytest.raises(RateLimitExceeded):
        refused.raise_if_refused()
    clock.advance(17.5 - 1e-6)
    assert not await limiter.reserve("a", max_wait=12.5)
    clock.advance(1e-6)
    assert round((await limiter.reserve("a", max_wait=12.5)).start - began, 6) == 30, "nothing was charged before"
    assert (await limiter.reserve("a", 2)).decision.retry_after == math.inf


async def test_it_is_settled_once(timed: Hub, clock: VirtualClock) -> None:
    limiter = RateLimiter(timed, Limit(10, per=100, algorithm="gcra"))
    one, two = await limiter.reserve("a", 6), await limiter.reserve("a", 4)
    assert [await one.settle(2), await one.settle(9), await one.cancel()] == [4, 0, 0]
    assert await two.settle(7) == -3
    assert (await limiter.peek("a")).remaining == 1
    assert "settled" in repr(one)


async def test_cancel_and_settle_at_the_same_time(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(10, per=3600, algorithm="gcra"))
    reservation = await limiter.reserve("a", 6)
    results = await asyncio.gather(reservation.cancel(), reservation.settle(2), reservation.settle(1))
    assert sorted(map(bool, results)) == [False, False, True]
    assert (await limiter.peek("a")).remaining == 4 + sum(results)


async def test_a_hit_is_refunded_beside_reservations(timed: Hub) -> None:
    """What rate.refund would give back is promised to the one who waits."""
    limiter = RateLimiter(timed, PACED)
    hit = await limiter.hit("a")
    waiting = await limiter.reserve("a")
    assert await limiter.refund("a", hit) == 0 and await limiter.refund("a", hit) == 0
    assert await waiting.cancel() == 1 and (await limiter.reserve("a")).start == waiting.start


async def test_a_reset_forgets_who_waits(timed: Hub) -> None:
    limiter = RateLimiter(timed, PACED)
    waiting = [await limiter.reserve("a") for _ in range(3)]
    await limiter.reset("a")
    assert await waiting[2].cancel() == 0
    assert (await limiter.reserve("a")).start == waiting[0].start


async def test_the_body_does_not_begin_before_the_start(hub: Hub, raw_client: Any) -> None:
    limiter, begun = RateLimiter(hub, QUICK), list[float]()

    async def work() -> None:
        async with await limiter.reserve("a") as reservation:
            assert server_time(raw_client) >= reservation.start
            begun.append(reservation.start)

    await asyncio.gather(*(work() for _ in range(4)))
    begun.sort()
    assert len(begun) == 4 and all(two - one >= 0.1 - 1e-6 for one, two in itertools.pairwise(begun))
    with pytest.raises(RateLimitExceeded):
        async with await limiter.reserve("a", 2):
            pytest.fail("it was refused")


async def test_whoever_is_cancelled_while_waiting_gives_it_back(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(1, per=3600, algorithm="gcra"))
    first, made = await limiter.reserve("a"), list[Any]()

    async def work() -> None:
        made.append(await limiter.reserve("a"))
        async with made[-1]:
            pytest.fail("an hour later")

    tasks = [asyncio.create_task(work()) for _ in range(5)]
    await until(lambda: len(made) == 5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await until(lambda: not hub._tasks)
    assert all(task.cancelled() for task in tasks)
    again = await limiter.reserve("a")
    assert again.start - first.start == pytest.approx(3600, abs=1e-5), "nothing is left of them"
    await again.cancel()
    with pytest.raises(StateError, match="cancelled"):
        made[0]._starts_at = 0
        await made[0].wait()


class Line:
    """The client's evalsha: held up before it is sent, or its reply lost."""

    def __init__(self, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real, self.calls, self.lose = hub.client.evalsha, 0, False
        self.open = asyncio.Event()
        self.open.set()
        monkeypatch.setattr(hub.client, "evalsha", self)

    async def __call__(self, *words: Any) -> Any:
        self.calls += 1
        await self.open.wait()
        reply = await self.real(*words)
        if self.lose:
            self.lose = False
            raise redis.ConnectionError("the reply is lost")
        return reply


@pytest.fixture
async def line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Line:
    await hub.preload()
    return Line(hub, monkeypatch)


async def test_a_reservation_whose_reply_is_lost_is_given_back(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, Limit(1, per=3600, algorithm="gcra"))
    line.lose = True
    with pytest.raises(redis.ConnectionError):
        await limiter.reserve("a")
    assert (await limiter.peek("a")).remaining == 1


@pytest.mark.parametrize("by", ["cancellation", "the time budget"])
async def test_one_that_nobody_waits_for_any_more_is_given_back(hub: Hub, line: Line, by: str) -> None:
    limiter = RateLimiter(hub, Limit(1, per=3600, algorithm="gcra"), timeout=0.02 if by == "the time budget" else None)
    line.open.clear()
    task = asyncio.create_task(limiter.reserve("a"))
    await until(lambda: line.calls == 1)
    if by == "cancellation":
        task.cancel()
    await until(lambda: by == "cancellation" or task.done())
    line.open.set()
    await asyncio.wait({task})
    assert task.cancelled() or isinstance(task.exception(), TimeoutError)
    await until(lambda: line.calls == 2 and not hub._tasks)
    assert (await RateLimiter(hub, limiter.limits).peek("a")).remaining == 1


async def test_a_settlement_whose_reply_is_lost_may_be_repeated(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, Limit(10, per=3600, algorithm="gcra"))
    reservation = await limiter.reserve("a", 5)
    line.lose = True
    with pytest.raises(redis.ConnectionError):
        await reservation.settle(8)
    assert await reservation.settle(8) == 0, "it had arrived"
    assert (await limiter.peek("a")).remaining == 2


async def test_what_comes_back_ends_denials(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(3, per=3600, algorithm="gcra"), deny_cache=True)
    reservation = await limiter.reserve("a", 3)
    assert not await limiter.hit("a")
    assert await limiter.reserve("a", 1), "a denial says nothing of those who wait"
    assert await reservation.settle(1) == 2 and await limiter.hit("a")


@pytest.mark.embedded
@pytest.mark.parametrize("on_error", ["raise", "allow", "deny", "local"])
async def test_while_the_server_is_gone(hub: Hub, backend: Any, on_error: Any) -> None:
    replicas = 2 if on_error == "local" else None
    limit = Limit(10, per=3600, algorithm="gcra")
    limiter = RateLimiter(hub, limit, on_error=on_error, replicas=replicas)
    before = await limiter.reserve("a")
    with backend.outage:
        if on_error == "raise":
            with pytest.raises(redis.ConnectionError):
                await limiter.reserve("a")
        else:
            made = [await limiter.reserve("a", 4) for _ in range(2)]
            assert [bool(each) for each in made] == {"allow": [1, 1], "deny": [0, 0], "local": [1, 0]}[on_error]
            assert all(each.decision.degraded for each in made)
            assert made[0].delay() == (math.inf if on_error == "deny" else 0)
            assert await made[0].cancel() == (4 if on_error == "local" else 0)
            assert bool(await limiter.reserve("a", 5)) == (on_error != "deny")
        with pytest.raises(redis.ConnectionError):
            await before.cancel()
    assert await before.cancel() == 1


@pytest.mark.owns_server
async def test_a_server_that_forgot_everything_owes_nothing(scratch_server: ServerProcess) -> None:
    async with redis.asyncio.Redis.from_url(scratch_server.url) as client, Hub(client) as hub:
        limiter = RateLimiter(hub, Limit(1, per=3600, algorithm="gcra"))
        lost = [await limiter.reserve("a") for _ in range(3)]
        await client.flushall()
        assert await limiter.hit("a")
        assert await lost[2].cancel() == 0
        assert not await limiter.hit("a")


@pytest.mark.parametrize("algorithm", [each for each in ALGORITHMS if each != "gcra"])
async def test_only_one_gcra_limit_can_be_reserved(hub: Hub, algorithm: Any) -> None:
    for limits in (Limit(1, per=60, algorithm=algorithm), [PACED, Limit(1, per=60, algorithm="gcra")]):
        with pytest.raises(ArgumentError, match="limits"):
            await RateLimiter(hub, limits).reserve("a")


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("key", {"key": ""}), ("cost", {"cost": 0}), ("cost", {"cost": 1.5}), ("cost", {"cost": 2**60}),
        ("max_wait", {"max_wait": -1}), ("max_wait", {"max_wait": math.inf}), ("max_wait", {"max_wait": "1"}),
    ],
)  # fmt: skip
async def test_bad_arguments(hub: Hub, raw_client: Any, prefix: str, argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        await RateLimiter(hub, PACED).reserve(**{"key": "a", **options})
    assert caught.value.argument == argument
    assert not list(raw_client.scan_iter(f"{prefix}*"))


async def test_settlements_that_make_no_sense(hub: Hub) -> None:
    limiter = RateLimiter(hub, PACED)
    reservation, refused = await limiter.reserve("a"), await limiter.reserve("a", max_wait=0)
    for actual in (-1, 1.5, True, None, 2**60):
        with pytest.raises(ArgumentError, match="actual"):
            await reservation.settle(actual)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="refused"):
        await refused.settle(1)
    assert await refused.cancel() == 0
    assert await reservation.cancel() == 1, "nothing was settled before"


async def test_a_poisoned_key(hub: Hub, raw_client: Any) -> None:
    key = hub.key("a") + ":rate:default:10s:gcra:starts"
    raw_client.set(key, "x", ex=60)
    with pytest.raises(StateError):
        await RateLimiter(hub, PACED).reserve("a")
    assert raw_client.get(key) == b"x"


# In threads


def test_the_blocking_form(sync_hub: riskscale.sync.Hub) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, QUICK)
    starts = []
    for _ in range(3):
        with limiter.reserve("a") as reservation:
            assert reservation.delay() == 0
            starts.append(reservation.start)
    assert starts[2] - starts[0] >= 0.2 - 1e-6
    last = limiter.reserve("a")
    assert last.settle(3) == -2 and last.cancel() == 0
    with pytest.raises(RateLimitExceeded), limiter.reserve("a", 2):
        pytest.fail("it was refused")


def test_an_interrupted_wait_gives_it_back(sync_hub: riskscale.sync.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, Limit(1, per=3600, algorithm="gcra"))
    assert limiter.reserve("a")
    waiting = limiter.reserve("a")

    def interrupted(delay: float) -> None:
        assert delay > 3000
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), waiting:
        pytest.fail("an hour later")
    assert limiter.reserve("a").start == waiting.start


@pytest.mark.embedded
def test_while_the_server_is_gone_in_threads(sync_hub: riskscale.sync.Hub, backend: Any) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, PACED, on_error="local", replicas=1)
    with backend.outage:
        one, two = limiter.reserve("a"), limiter.reserve("a")
        assert one and not two and one.decision.degraded
        with one, pytest.raises(RateLimitExceeded):
            two.wait()
        assert one.settle(0) == 1 and one.cancel() == 0 and limiter.reserve("a")


def test_many_threads_reserve_different_starts(sync_hub: riskscale.sync.Hub) -> None:
    limiter, starts = riskscale.sync.RateLimiter(sync_hub, PACED), list[float]()
    threads = [threading.Thread(target=lambda: starts.append(limiter.reserve("a").start)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round(start - min(starts), 5) for start in starts) == [10 * number for number in range(16)]


async def test_a_reset_forgets_reservations_too(timed: Hub, clock: VirtualClock) -> None:
    limiter = RateLimiter(timed, Limit(1, per=1, algorithm="gcra", burst=10))
    assert await limiter.hit("a", 10)
    reservation = await limiter.reserve("a", 10)
    await limiter.reset("a")
    assert await limiter.hit("a", 10)
    clock.advance(1)
    assert await limiter.hit("a") and await reservation.cancel() == 0 and not await limiter.hit("a")


async def test_what_was_refunded_long_ago_takes_no_memory(timed: Hub, clock: VirtualClock, raw_client: Any) -> None:
    limiter = RateLimiter(timed, PACED)
    for _ in range(60):
        decision = await limiter.hit("a")
        assert decision and await limiter.refund("a", decision) == 1
        clock.advance(30)
    (starts,) = raw_client.scan_iter(f"{timed.root}*:starts")
    assert raw_client.zcard(starts) <= 4
