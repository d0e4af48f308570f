"""Limits while the server is gone: each policy, in virtual time, and on a real server that stalls or is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import ArgumentError, Hub, Limit, RateLimiter
from riskscale.rate.calls import Decision, Plan
from riskscale.rate.fallback import RETRY, Fallback
from riskscale.testing import Outage, ServerProcess

TEN = Limit(10, per=60)
GONE = redis.ConnectionError("gone")


class Virtual:
    """A fallback, its clock, and a server that answers with what it is told."""

    def __init__(self, on_error: Any, replicas: int | None = None, limits: tuple[Limit, ...] = (TEN,)) -> None:
        self.now = 1000.0
        self.fallback = Fallback(Plan("rs1", limits, "test", None), on_error, replicas, lambda: self.now)
        self.asked = 0

    def hit(self, there: bool, *, allowed: bool = True, cost: int = 1, key: str = "a") -> Decision:
        settled, asked = self.fallback.begin([(key, cost)], True)
        if not asked:
            (found,) = settled
        elif there:
            self.asked += 1
            wait = 0.0 if allowed else 7.0
            decided = [Decision(allowed, 5, wait, 60.0, TEN, time.time(), key, cost, "token" if allowed else "")]
            (found,) = self.fallback.answered(settled, [*decided], True)  # type: ignore[assignment]
        else:
            self.asked += 1
            (found,) = self.fallback.failed(GONE, settled, asked, True)  # type: ignore[assignment]
        assert isinstance(found, Decision)
        return found


def test_raise() -> None:
    with pytest.raises(redis.ConnectionError):
        Virtual("raise").hit(False)


@pytest.mark.parametrize(("policy", "allowed"), [("allow", True), ("deny", False)])
def test_allow_and_deny(policy: str, allowed: bool) -> None:
    server = Virtual(policy)
    assert server.hit(True).degraded is False
    decision = server.hit(False)
    assert (decision.allowed, decision.degraded) == (allowed, True)
    assert decision.retry_after == (0 if allowed else RETRY)
    assert server.hit(True).degraded and server.asked == 2, "nobody waits for a server that was gone a moment ago"
    server.now += RETRY
    assert not server.hit(True).degraded, "one goes to see"
    assert not server.hit(True).degraded


def test_one_goes_to_see_while_the_others_do_without() -> None:
    server = Virtual("deny")
    server.hit(False)
    server.now += RETRY
    asked = [len(server.fallback.begin([("a", 1)], True)[1]) for _ in range(5)]
    assert asked == [1, 0, 0, 0, 0]


def test_local_grants_a_share_and_no_second_quota_afterwards() -> None:
    server = Virtual("local", replicas=2)
    assert [server.hit(False).allowed for _ in range(7)] == [True] * 5 + [False] * 2
    refused = server.hit(False)
    assert refused.degraded and 0 < refused.retry_after <= 60 and refused.remaining == 0
    server.now += RETRY
    assert not server.hit(True).degraded, "it is there again: the first who sees it is decided by it"
    assert [server.hit(True).allowed for _ in range(3)] == [False] * 3, "what was admitted meanwhile still counts"
    server.now += 60
    assert not server.hit(True).degraded and all(server.hit(True).allowed for _ in range(20)), "the server alone"


def test_what_the_server_refuses_takes_nothing_from_the_share() -> None:
    server = Virtual("local", replicas=2)
    server.hit(False)
    server.now += RETRY
    server.hit(True)
    for _ in range(20):
        assert server.hit(True, allowed=False).retry_after == 7.0
    assert sum(server.hit(True).allowed for _ in range(20)) == 4


def test_too_much_for_a_share_is_not_never() -> None:
    server = Virtual("local", replicas=5)
    assert server.hit(False, cost=3).retry_after == RETRY
    assert Virtual("local", replicas=100).hit(False).allowed, "a share is one unit at the least"


def test_all_of_several_limits_locally() -> None:
    server = Virtual(
        "local", replicas=2, limits=(Limit(4, per=1), Limit(6, per=60), Limit(8, per=60, algorithm="gcra"))
    )
    assert [server.hit(False).allowed for _ in range(3)] == [True, True, False]
    server.now += 1
    assert [server.hit(False).allowed for _ in range(2)] == [True, False]


def test_local_refunds_count_once() -> None:
    server = Virtual("local", replicas=10)
    decision = server.hit(False)
    assert not server.hit(False).allowed
    assert [server.fallback.refund(decision, 1) for _ in range(2)] == [1, 0]
    assert server.hit(False).allowed and not server.hit(False).allowed


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("on_error", {"on_error": "ignore"}),
        ("replicas", {"on_error": "local"}),
        ("replicas", {"on_error": "deny", "replicas": 3}),
        ("replicas", {"on_error": "local", "replicas": 0}),
        ("timeout", {"timeout": -1}),
    ],
)
def test_bad_arguments(hub: Hub, argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=argument):
        RateLimiter(hub, TEN, **options)


@pytest.fixture(params=["stalled", "crashed"])
def outage(request: pytest.FixtureRequest, scratch_server: ServerProcess) -> Iterator[Outage]:
    make: Callable[[ServerProcess], Outage] = getattr(Outage, request.param)
    outage = make(scratch_server)
    yield outage
    outage.end()


async def until(limiter: Any, degraded: bool) -> Decision:
    """Hits, until one is decided by the server, or without it."""
    while (decision := await limiter.hit("until")).degraded is not degraded:
        await asyncio.sleep(0.01)
    return decision  # type: ignore[no-any-return]


@pytest.mark.owns_server
@pytest.mark.parametrize("on_error", ["raise", "allow", "deny", "local"])
async def test_a_server_that_goes_and_comes_back(scratch_server: ServerProcess, outage: Outage, on_error: Any) -> None:
    async with redis.asyncio.Redis.from_url(scratch_server.url) as client, Hub(client) as hub:
        replicas = 5 if on_error == "local" else None
        limiter = RateLimiter(hub, TEN, timeout=0.1, on_error=on_error, replicas=replicas)
        assert not (await limiter.hit("a")).degraded
        with outage:
            if on_error == "raise":
                with pytest.raises((redis.RedisError, OSError, TimeoutError)):
                    await limiter.hit("a")
            else:
                found = await asyncio.gather(*(limiter.hit("b") for _ in range(20)))
                assert all(decision.degraded for decision in found)
                assert sum(map(bool, found)) == {"allow": 20, "deny": 0, "local": 2}[on_error]
                peeked = await limiter.peek("b")
                assert peeked.degraded and bool(peeked) == (on_error == "allow")
                assert await limiter.refund("b", found[0]) == (on_error == "local") if found[0] else True
        if on_error == "raise":
            while True:
                try:
                    assert not (await limiter.hit("a")).degraded
                    break
                except (redis.RedisError, OSError, TimeoutError):
                    await asyncio.sleep(0.01)
            return
        await until(limiter, False)
        if on_error == "local":
            several = [await limiter.hit("b") for _ in range(3)]
            assert sum(map(bool, several)) <= 1, "one was given back; the rest of the share is used"
        else:  # not "b": a server that stalled carries out what was sent meanwhile
            several = [await limiter.hit("c") for _ in range(3)]
            assert all(several) and not any(decision.degraded for decision in several)


@pytest.mark.owns_server
def test_in_threads(scratch_server: ServerProcess, outage: Outage) -> None:
    with (
        redis.Redis.from_url(scratch_server.url, socket_timeout=0.1) as client,
        riskscale.sync.Hub(client) as hub,
    ):
        limiter = riskscale.sync.RateLimiter(hub, TEN, on_error="local", replicas=5)
        assert not limiter.hit("a").degraded
        with outage:
            found = limiter.hit_many(["b"] * 4)
            assert [(d.allowed, d.degraded) for d in found] == [(True, True)] * 2 + [(False, True)] * 2
            assert limiter.refund("b", found[0]) == 1
        while limiter.hit("until").degraded:
            time.sleep(0.01)
        assert [limiter.hit("b").allowed for _ in range(2)] == [True, False]
