"""Hits that travel together: how many calls there are, and that nobody suffers from the others of a batch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from riskscale import Hub, HubClosed, Limit, RateLimiter, StateError
from riskscale.rate.coalescer import HALVES, IN_FLIGHT, Coalescer

FIVE = Limit(5, per=3600)


class Line:
    """The client's evalsha, counted; it can be held up, cut, or made to answer nonsense."""

    def __init__(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real, self.items, self.under_way, self.most = hub.client.evalsha, list[int](), 0, 0
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None
        self.nonsense: Any = None
        monkeypatch.setattr(hub.client, "evalsha", self)

    async def __call__(self, sha: str, numkeys: int, *words: Any) -> Any:
        self.items.append(numkeys)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.open.wait()
            if self.failure is not None:
                raise self.failure
            return self.nonsense or await self.real(sha, numkeys, *words)
        finally:
            self.under_way -= 1


@pytest.fixture
async def line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Line:
    await hub.preload()
    return Line(hub, monkeypatch)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_hits_of_one_turn_are_one_call_or_two_halves(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    await asyncio.gather(*(limiter.hit("few") for _ in range(HALVES - 1)))
    assert line.items == [HALVES - 1]
    decisions = await asyncio.gather(*(limiter.hit(f"t{number % 8}") for number in range(64)))
    assert line.items[1:] == [32, 32]
    assert sum(map(bool, decisions)) == 8 * 5 and all(d.key == f"t{n % 8}" for n, d in enumerate(decisions))
    assert len({decision.token for decision in decisions if decision}) == 40
    assert await limiter.refund("t0", decisions[0]) == 1


async def test_one_caller_alone_is_one_call_each(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    assert [(await limiter.hit("a")).remaining for _ in range(3)] == [4, 3, 2]
    assert line.items == [1, 1, 1]


async def test_who_follows_a_lone_caller_goes_at_once_and_the_others_together(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    await limiter.hit("a")
    line.open.clear()
    tasks = [asyncio.create_task(limiter.hit("a")) for _ in range(20)]
    await turns(1)
    assert line.items == [1, 1], "not even a turn of the loop was waited for"
    await turns()
    assert line.items == [1, 1, 19]
    tasks[0].cancel()
    line.open.set()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled() and sum(bool(task.result()) for task in tasks[1:]) == 4
    assert len(await asyncio.gather(*(limiter.hit("b") for _ in range(8)))) == 8 and line.items[3:] == [8]


async def test_a_crowd_that_stays_keeps_two_calls_under_way(hub: Hub, line: Line) -> None:
    """While one half is decided the other asks again: neither is halved any further."""
    limiter = RateLimiter(hub, Limit(10_000, per=3600))

    async def caller(number: int) -> None:
        for _ in range(10):
            await limiter.hit(f"t{number}")

    await asyncio.gather(*(caller(number) for number in range(64)))
    assert sum(line.items) == 640 and line.most == IN_FLIGHT
    assert sorted(line.items)[len(line.items) // 2] >= 32


async def test_limiters_of_the_same_limits_share_calls_and_count_apart(hub: Hub, line: Line) -> None:
    one, two = RateLimiter(hub, FIVE, name="one"), RateLimiter(hub, Limit(5, per=3600), name="two")
    other = RateLimiter(hub, Limit(4, per=3600), name="one")
    decisions = await asyncio.gather(*(limiter.hit("a", 3) for limiter in (one, two, other)))
    assert sorted(line.items) == [1, 2]
    assert [bool(decision) for decision in decisions] == [True, True, False], "the count is not in the key"
    assert [decision.limit.count for decision in decisions] == [5, 5, 4]
    assert await two.refund("a", decisions[1], 3) == 3


async def test_hit_many_travels_with_the_others_in_calls_that_fit(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, Limit(1000, per=3600))
    many = [f"k{number}" for number in range(300)]
    results = await asyncio.gather(limiter.hit("a"), limiter.hit_many(many), limiter.hit("b"))
    assert sum(line.items) == 302 and max(line.items) <= 128 and len(line.items) <= 5
    assert [decision.key for decision in results[1]] == many
    several = RateLimiter(hub, [Limit(9, per=60), Limit(90, per=3600)], name="both")
    assert [d.remaining for d in await asyncio.gather(*(several.hit("a") for _ in range(3)))] == [8, 7, 6]
    assert line.items[-1] == 6


async def test_two_calls_are_under_way_and_the_next_one_fills(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    line.open.clear()
    tasks = []
    for number in range(20):
        tasks.append(asyncio.create_task(limiter.hit(f"t{number}")))
        await turns()
    assert line.items == [1] * IN_FLIGHT
    line.open.set()
    assert all(await asyncio.gather(*tasks)) and line.items == [1, 1, 18] and line.most == IN_FLIGHT


async def test_who_gives_up_before_it_is_sent_is_not_charged_and_disturbs_nobody(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    line.open.clear()
    first = [asyncio.create_task(limiter.hit("first")) for _ in range(2)]
    await turns()
    second = asyncio.create_task(limiter.hit("second"))
    await turns()
    waiting = [asyncio.create_task(limiter.hit("a", 2)) for _ in range(2)]
    await turns()
    waiting[0].cancel()  # not sent yet
    first[0].cancel()  # under way
    await asyncio.wait({waiting[0], first[0]})
    line.open.set()
    assert (await first[1]) and (await second) and (await waiting[1]).remaining == 3
    assert (await limiter.peek("first")).remaining == 3, "what was sent counts"
    assert line.items[:3] == [2, 1, 1]


async def test_a_time_budget_counts_from_the_asking(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    line.open.clear()
    hub.timeout = 0.05
    tasks = []
    for number in range(3):
        tasks.append(asyncio.create_task(limiter.hit(f"t{number}")))
        await turns()
    await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), TimeoutError) for task in tasks)
    line.open.set()
    hub.timeout = None
    assert (await limiter.hit("t2")).remaining == 4, "never sent, never charged"


async def test_an_error_of_the_line_reaches_those_of_the_batch_and_no_others(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    line.open.clear()
    line.failure = redis.ConnectionError("cut")
    lost = [asyncio.create_task(limiter.hit("a")) for _ in range(3)]
    await turns()
    later = asyncio.create_task(limiter.hit("b"))
    line.open.set()
    await asyncio.wait(lost)
    assert all(isinstance(task.exception(), redis.ConnectionError) for task in lost)
    assert len({id(task.exception()) for task in lost}) == 3, "each has a traceback of its own"
    await asyncio.wait({later})
    line.failure = None
    assert await limiter.hit("b"), "it goes on"


async def test_a_reply_that_makes_no_sense_leaves_nobody_waiting(hub: Hub, line: Line) -> None:
    limiter, line.nonsense = RateLimiter(hub, FIVE), [1, "x"]
    for result in await asyncio.gather(limiter.hit("a"), limiter.hit("b"), return_exceptions=True):
        assert isinstance(result, Exception)


async def test_a_poisoned_key_harms_nobody_else(hub: Hub, line: Line, raw_client: Any) -> None:
    limiter = RateLimiter(hub, FIVE, name="api")
    raw_client.lpush(hub.key("bad") + ":rate:api:3600s:sliding_log", "x")
    raw_client.expire(hub.key("bad") + ":rate:api:3600s:sliding_log", 60)
    bad, good = await asyncio.gather(limiter.hit("bad"), limiter.hit("good"), return_exceptions=True)
    assert isinstance(bad, StateError) and good and line.items == [2]


async def test_bad_input_is_refused_before_anything_is_sent(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    results = await asyncio.gather(
        limiter.hit(""), limiter.hit("a", 0), limiter.hit("a", -1), limiter.hit("a"), return_exceptions=True
    )
    assert [isinstance(result, ValueError) for result in results] == [True, True, True, False]
    assert line.items == [1]


async def test_closing_decides_what_was_asked(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    line.open.clear()
    tasks = []
    for number in range(4):
        tasks.append(asyncio.create_task(limiter.hit(f"t{number}")))
        await turns()
    closing = asyncio.create_task(hub.aclose(timeout=30))
    await turns()
    with pytest.raises(HubClosed):
        await limiter.hit("late")
    line.open.set()
    await closing
    assert all(await asyncio.gather(*tasks))


async def test_closing_does_not_wait_for_ever(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    line.open.clear()
    tasks = []
    for number in range(4):
        tasks.append(asyncio.create_task(limiter.hit(f"t{number}")))
        await turns()
    await hub.aclose(timeout=0.01)
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(result, HubClosed)


async def test_calls_that_nobody_waits_for_take_no_place(hub: Hub, line: Line) -> None:
    """A server that never answers: when it is back, the next hit reaches it."""
    limiter = RateLimiter(hub, FIVE, timeout=0.02)
    line.open.clear()
    for number in range(3 * IN_FLIGHT):
        with pytest.raises(TimeoutError):
            await limiter.hit(f"t{number}")
    await turns()
    assert line.under_way == 0 and not hub._tasks
    line.open.set()
    assert (await limiter.hit("t0")).remaining == 4


async def test_closing_at_the_very_moment_of_asking_leaves_nobody_waiting(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    line.open.clear()
    tasks = [asyncio.create_task(limiter.hit(f"t{number}")) for number in range(40)]
    await turns(1)
    await hub.aclose(timeout=0)
    done, waiting = await asyncio.wait(tasks, timeout=30)
    assert not waiting and all(isinstance(task.exception(), HubClosed) for task in done)


async def test_another_loop_is_refused(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE)
    await limiter.hit("a")
    await asyncio.gather(limiter.hit("a"), limiter.hit("a"))

    def elsewhere() -> None:
        with pytest.raises(StateError, match="event loop"):
            asyncio.run(limiter.hit("a"))

    await asyncio.to_thread(elsewhere)


async def test_it_can_be_switched_off_and_keeps_nothing(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub, FIVE, coalesce=False)
    await asyncio.gather(*(limiter.hit("a") for _ in range(3)))
    assert line.items == [1, 1, 1]
    for count in range(1, 50):
        await RateLimiter(hub, Limit(count, per=60)).hit("a")
    assert len(hub.part(Coalescer)._kinds) <= 1


@pytest.mark.embedded
async def test_a_bare_client(hub: Hub, line: Line) -> None:
    limiter = RateLimiter(hub.client, FIVE, name=hub.root)
    key = limiter._plan.keys("a")[0]
    try:
        assert all(await asyncio.gather(*(limiter.hit("a") for _ in range(5)))) and line.items == [5]
    finally:
        await hub.client.delete(key)
