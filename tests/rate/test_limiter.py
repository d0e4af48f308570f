"""The limiter as its users meet it."""

from __future__ import annotations

import gc
import math
import tracemalloc
from datetime import timedelta
from typing import Any

import fakeredis
import pytest

import riskscale.sync
from riskscale import ArgumentError, Hub, Limit, RateLimiter, RateLimitExceeded, StateError
from riskscale.rate.limit import ALGORITHMS
from riskscale.testing import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def timed(client: Any, prefix: str, clock: VirtualClock) -> Hub:
    """A hub in virtual time."""
    return Hub(client, key_prefix=prefix, clock=clock)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_hit_until_refused_then_wait(timed: Hub, clock: VirtualClock, algorithm: Any) -> None:
    limiter = RateLimiter(timed, Limit(3, per=60, algorithm=algorithm), name="api")
    assert [(await limiter.hit("a")).remaining for _ in range(3)] == [2, 1, 0]
    refused = await limiter.hit("a")
    assert not refused and refused.retry_after > 0 and refused.remaining == 0 and refused.limit.count == 3
    with pytest.raises(RateLimitExceeded) as caught:
        refused.raise_if_refused()
    assert caught.value.retry_after == refused.retry_after
    assert await limiter.hit("b"), "another tenant's quota is its own"
    clock.advance(refused.retry_after - 1e-6)
    assert not await limiter.hit("a")
    clock.advance(1e-6)
    assert (await limiter.peek("a")).allowed and (await limiter.hit("a")).retry_after == 0.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_cost_above_the_capacity_never_passes(timed: Hub, algorithm: Any) -> None:
    decision = await RateLimiter(timed, Limit(3, per=60, algorithm=algorithm)).hit("a", cost=4)
    assert (decision.allowed, decision.retry_after, decision.remaining) == (False, math.inf, 3)


async def test_several_limits_are_all_or_nothing(timed: Hub, clock: VirtualClock) -> None:
    limits = [Limit.parse("2/second"), Limit.parse("3/hour", algorithm="sliding_window"), Limit.parse("9/day burst=9")]
    limiter = RateLimiter(timed, limits, name="login")
    assert [bool(await limiter.hit("a")) for _ in range(3)] == [True, True, False]
    assert (await limiter.peek("a")).limit == limits[0]
    clock.advance(1)
    assert await limiter.hit("a")
    refused = await limiter.hit("a")
    assert not refused and refused.limit == limits[1] and refused.retry_after > 3000
    assert (await RateLimiter(timed, limits[2], name="login").peek("a")).remaining == 6, "a refusal charged a limit"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_refund_counts_once(timed: Hub, algorithm: Any) -> None:
    limiter = RateLimiter(timed, Limit(3, per=60, algorithm=algorithm))
    decision = await limiter.hit("a", cost=3)
    assert not await limiter.hit("a")
    assert await limiter.refund("a", decision, cost=2) == 2
    assert await limiter.refund("a", decision, cost=2) == 0
    assert [bool(await limiter.hit("a")) for _ in range(3)] == [True, True, False]


async def test_a_refund_leaves_no_trace_in_a_log(timed: Hub, clock: VirtualClock, raw_client: Any) -> None:
    """The others' units come back when they would have come back without it."""
    limiter = RateLimiter(timed, Limit(100, per=60), name="api")
    key = limiter._plan.keys("a")[0]
    for _ in range(70):
        await limiter.hit("a")
        clock.advance(0.1)
        before = await limiter.peek("a")
        decision = await limiter.hit("a", cost=3)
        clock.advance(0.1)
        assert await limiter.refund("a", decision, cost=3) == 3
        assert (await limiter.peek("a")).reset_after == pytest.approx(before.reset_after - 0.1)
    clock.advance(60 - 70 * 0.2)
    assert (await limiter.peek("a")).remaining == 100 - 70 + 1 and raw_client.pttl(key) > 0
    clock.advance(0.2)
    assert (await limiter.peek("a")).remaining == 100 - 70 + 2


async def test_refunds_that_make_no_sense(timed: Hub) -> None:
    limiter = RateLimiter(timed, Limit(1, per=60))
    good, refused, peeked = await limiter.hit("a"), await limiter.hit("a"), await limiter.peek("b")
    for argument, key, decision, cost in [
        ("decision", "a", refused, 1), ("decision", "b", peeked, 1), ("decision", "a", None, 1),
        ("key", "b", good, 1), ("cost", "a", good, 2), ("cost", "a", good, 0),
    ]:  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            await limiter.refund(key, decision, cost)  # type: ignore[arg-type]
        assert caught.value.argument == argument


async def test_a_decision_of_another_limiter_is_refused(timed: Hub) -> None:
    one, two = (RateLimiter(timed, Limit(1, per=60), name=name) for name in ("one", "two"))
    with pytest.raises(ArgumentError, match="another limiter"):
        await two.refund("a", await one.hit("a"))


async def test_many_items_are_all_checked_before_one_is_charged(timed: Hub, raw_client: Any) -> None:
    with pytest.raises(ArgumentError, match="key"):
        await RateLimiter(timed, Limit(1000, per=60)).hit_many(["a"] * 200 + [""])
    assert not list(raw_client.scan_iter(f"{timed.root}*"))


async def test_reset_forgets(timed: Hub) -> None:
    limiter = RateLimiter(timed, [Limit(1, per=60), Limit(1, per=60, algorithm="gcra")])
    assert await limiter.hit("a") and not await limiter.hit("a")
    await limiter.reset("a")
    assert await limiter.hit("a")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_many_items_count_each_and_the_same_key_twice(timed: Hub, algorithm: Any) -> None:
    limiter = RateLimiter(timed, Limit(10, per=60, algorithm=algorithm))
    decisions = await limiter.hit_many(["a"] * 64 + [("b", 9), ("b", 2), "b"] + [f"t{n}" for n in range(600)])
    assert sum(map(bool, decisions[:64])) == 10
    assert [bool(each) for each in decisions[64:67]] == [True, False, True]
    assert all(decisions[67:]) and [each.key for each in decisions[67:69]] == ["t0", "t1"]


async def test_a_poisoned_key_harms_no_other(timed: Hub, raw_client: Any) -> None:
    limiter = RateLimiter(timed, Limit(10, per=60))
    await limiter.hit("bad")
    (poisoned,) = raw_client.scan_iter(f"{timed.root}*")
    raw_client.delete(poisoned)
    raw_client.hset(poisoned, "a", "b")
    raw_client.pexpire(poisoned, 60_000)
    with pytest.raises(StateError):
        await limiter.hit("bad")
    results = await limiter.hit_many(["a", "bad", "c"], return_exceptions=True)
    assert [type(each).__name__ for each in results] == ["Decision", "StateError", "Decision"]
    with pytest.raises(StateError):
        await limiter.hit_many(["a", "bad"])
    assert (await limiter.peek("a")).remaining == 8
    assert raw_client.hgetall(poisoned) == {b"a": b"b"}


async def test_a_changed_limit_keeps_its_state(timed: Hub) -> None:
    for algorithm in ALGORITHMS:
        await RateLimiter(timed, Limit(10, per=60, algorithm=algorithm)).hit("a", cost=6)
        assert (await RateLimiter(timed, Limit(20, per=60, algorithm=algorithm)).peek("a")).remaining in (8, 14)
        assert (await RateLimiter(timed, Limit(5, per=60, algorithm=algorithm)).peek("a")).remaining in (0, 2)


def test_the_blocking_limiter(sync_hub: riskscale.sync.Hub) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, Limit(3, per=60), name="api")
    decision = limiter.hit("a", cost=2)
    assert decision and limiter.peek("a").remaining == 1 and limiter.refund("a", decision, 2) == 2
    assert [bool(each) for each in limiter.hit_many(["a", "a", "a", "a"])] == [True, True, True, False]
    limiter.reset("a")
    assert limiter.hit("a").remaining == 2


@pytest.mark.parametrize("cost", [0, -1, 1.5, "1", True, float("nan"), float("inf"), 2**53])
async def test_bad_costs_are_refused_before_anything_is_sent(hub: Hub, raw_client: Any, prefix: str, cost: Any) -> None:
    limiter = RateLimiter(hub, Limit(10, per=60))
    for act in (limiter.hit("a", cost), limiter.peek("a", cost), limiter.hit_many(["b", ("a", cost)])):
        with pytest.raises(ArgumentError, match="cost"):
            await act
    if cost == 0:
        with pytest.raises(ArgumentError, match="peek"):
            await limiter.hit("a", cost)
    assert not list(raw_client.scan_iter(f"{prefix}*"))


def test_text_is_no_limit(hub: Hub) -> None:
    with pytest.raises(ArgumentError, match=r"limits must be a Limit.*Limit\.parse\(\)"):
        RateLimiter(hub, "100/minute")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", b"a", None, "\ud800"])
async def test_bad_keys_are_refused(hub: Hub, key: Any) -> None:
    with pytest.raises(ArgumentError, match="key"):
        await RateLimiter(hub, Limit(10, per=60)).hit(key)


@pytest.mark.embedded
@pytest.mark.parametrize("deny_cache", [False, True])
async def test_long_keys_that_clients_chose_do_not_stay_in_memory(hub: Hub, raw_client: Any, deny_cache: bool) -> None:
    limiter = RateLimiter(hub, Limit(1, per=60), deny_cache=deny_cache)
    await limiter.hit("a")
    tracemalloc.start()
    try:
        for number in range(30):
            key = f"{number}" + "x" * 200_000
            assert [bool(await limiter.hit(key)) for _ in range(2)] == [True, False]
            raw_client.flushall()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cost", [6, 10**15])
async def test_a_cost_above_the_burst_never_passes(timed: Hub, cost: int) -> None:
    limiter = RateLimiter(timed, Limit(100, per=60, algorithm="gcra", burst=5))
    decision = await limiter.hit("a", cost=cost)
    assert (decision.allowed, decision.retry_after, decision.remaining) == (False, math.inf, 5)
    with pytest.raises(RateLimitExceeded, match="inf"):
        decision.raise_if_refused()
    assert not await limiter.wait("a", cost=cost), "it does not wait for what never comes"
    assert (await limiter.hit("a", cost=5)).remaining == 0, "nothing was charged"


# Limit, alone


@pytest.mark.parametrize(
    ("text", "count", "per", "burst", "algorithm"),
    [
        ("100/minute", 100, 60, None, "sliding_log"), ("5/10s", 5, 10, None, "sliding_log"),
        ("10/second burst=20", 10, 1, 20, "gcra"), (" 1000 / 2 hours ", 1000, 7200, None, "sliding_log"),
        ("1/500ms", 1, 0.5, None, "sliding_log"), ("7/w", 7, 604800, None, "sliding_log"),
        ("1/d", 1, 86400, None, "sliding_log"),
    ],
)  # fmt: skip
def test_limits_parse(text: str, count: int, per: float, burst: int | None, algorithm: str) -> None:
    limit = Limit.parse(text)
    assert (limit.count, limit.per, limit.burst, limit.algorithm) == (count, per, burst, algorithm)
    assert Limit.parse(str(limit), algorithm=limit.algorithm) == limit


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "character 1"), ("ten/minute", "character 1"), ("10", "character 3"), ("10/", "character 4"),
        ("10/fortnight", "character 4"), ("10/minute burst", "character 10"), ("10/minute burst=x", "character 10"),
        ("10/minute x", "character 10"), ("-1/s", "character 1"), ("1.5/s", "character 2"), ("0/s", "count"),
        ("10/0s", "period"), ("10/99999999d", "period"), ("10/s burst=0", "burst"), ("9" * 60 + "/s", "too long"),
        ("10/s per=3", "character 5"), ("10/60", "character 4"), ("10 per minute", "character 3"),
        ("10/month", "unit at character 4"), ("10/M", "character 4"), ("100/minute;", "character 11"),
    ],
)  # fmt: skip
def test_limits_that_do_not_parse_say_where(text: str, where: str) -> None:
    with pytest.raises(ArgumentError, match=where):
        Limit.parse(text)


def test_parse_many() -> None:
    assert [limit.count for limit in Limit.parse_many("10/second; 1000/hour")] == [10, 1000]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("count", {"count": 0}), ("count", {"count": 1.5}), ("count", {"count": 2**53 + 1}),
        ("count", {"count": 10**7 + 1}),
        ("count", {"count": True}), ("per", {"per": 0}), ("per", {"per": -1}), ("per", {"per": float("nan")}),
        ("per", {"per": 1e10}), ("per", {"per": "60"}), ("per", {"per": "minute"}), ("per", {"per": 315_576_001}),
        ("algorithm", {"algorithm": "magic"}), ("burst", {"burst": 3}),
        ("burst", {"burst": 0, "algorithm": "gcra"}), ("burst", {"burst": 10**9, "algorithm": "gcra", "count": 1}),
        ("name", {"name": ""}),
    ],
)  # fmt: skip
def test_limits_out_of_range(argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        Limit(**{"count": 10, "per": timedelta(minutes=1), **options})
    assert caught.value.argument == argument


def test_limiters_out_of_range() -> None:
    client = fakeredis.FakeAsyncRedis()
    for limits in ([], [Limit(1, per=1)] * 2, ["1/s"], [Limit(1, per=n + 1) for n in range(33)]):
        with pytest.raises(ArgumentError, match="limits"):
            RateLimiter(client, limits)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="name"):
        RateLimiter(client, Limit(1, per=1), name="")
