"""Limiters whose keys have limits of their own, as their users meet them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import riskscale.sync
from riskscale import (
    ArgumentError,
    CallableLimits,
    Hub,
    HubClosed,
    Limit,
    LimitSource,
    MultiRateLimiter,
    RateLimiter,
    RedisLimits,
    StaticLimits,
)
from riskscale.http import ASGILimit
from riskscale.limits.calls import Change, LimitsCalls
from riskscale.limits.known import BY_HAND, EARLY, FRESH
from riskscale.rate.limit import ALGORITHMS
from riskscale.testing import VirtualClock

Operator = Callable[..., Change]
THREE = Limit(3, per=3600)


class Line:
    """How often, and with how many keys, the client was asked."""

    def __init__(self, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[int] = []
        real = hub.client.evalsha

        def evalsha(sha: str, numkeys: int, *words: Any) -> Any:
            self.keys.append(numkeys)
            return real(sha, numkeys, *words)

        monkeypatch.setattr(hub.client, "evalsha", evalsha)


class Time:
    """Of a hub, moved by the test."""

    def __init__(self, hub: Any) -> None:
        self.now = 1000.0
        hub.monotonic = lambda: self.now


@pytest.fixture
def time(hub: Hub) -> Time:
    return Time(hub)


async def read(limits: RedisLimits) -> None:
    """Wait for what is read in the background."""
    while limits._task is not None:
        await asyncio.sleep(0)


async def test_a_change_is_followed_and_what_was_used_goes_on_counting(
    hub: Hub, time: Time, operator: Operator
) -> None:
    limits = RedisLimits(hub, "api", default=THREE)
    limiter = RateLimiter(hub, limits, name="api")
    assert (await limiter.hit("a", 2)).remaining == 1
    operator("a", "10/hour")
    time.now += FRESH - 0.001
    assert (await limiter.hit("a")).remaining == 0, "known for less than a second"
    time.now += 0.001
    decision = await limiter.hit("a")
    assert (decision.remaining, decision.limits) == (6, (Limit(10, per=3600),)), "4 of 10"
    operator("a", "3/hour")
    time.now += FRESH
    assert not await limiter.peek("a") and (await limiter.peek("b")).remaining == 3
    operator("a", "")
    time.now += FRESH
    assert (await limiter.peek("a")).limits == (THREE,)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_algorithm_keeps_its_state(hub: Hub, operator: Operator, algorithm: Any) -> None:
    limits = RedisLimits(hub, "api", default=Limit(10, per=3600, algorithm=algorithm))
    limiter = RateLimiter(hub, limits)
    for key in ("a", "b"):
        await limiter.hit(key, 6)
    operator("a", "20/hour")
    operator("b", "5/hour")
    fresh = RateLimiter(hub, RedisLimits(hub, "api", default=Limit(10, per=3600, algorithm=algorithm)))
    more, less = await fresh.peek("a"), await fresh.peek("b")
    # To gcra 6 of 10 are 36 minutes, whatever the limit: of 20, 8 are left then, and of 5, 2.
    assert (more.remaining, less.remaining) == ((8, 2) if algorithm == "gcra" else (14, 0))
    assert (more.limit.count, less.limit.count) == (20, 5)


async def test_nobody_waits_while_it_is_used(
    hub: Hub, time: Time, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.preload()
    limits = RedisLimits(hub, "api", default=Limit(1000, per=3600))
    limiter, line = RateLimiter(hub, limits), Line(hub, monkeypatch)
    await asyncio.gather(*(limiter.hit(f"t{number}") for number in range(64)))
    assert line.keys == [1, 32, 32], "64 tenants are read in one call, and decided in two halves"
    for _ in range(10):
        await limiter.hit("t0")
    assert line.keys == [1, 32, 32] + [1] * 10, "nothing is read while it is known"
    operator("t0", "5/hour")
    line.keys.clear()
    time.now += EARLY
    assert limits.refresh(["t0"]) is None and limits._task is not None, "the first use reads, and goes on"
    assert limits.refresh([f"t{number}" for number in range(64)]) is None
    await read(limits)
    assert line.keys == [1, 1], "the version, which has changed; then all that is used"
    assert (await limiter.peek("t0")).limit.count == 5
    line.keys.clear()
    time.now += EARLY
    assert limits.refresh([f"t{number}" for number in range(64)]) is None
    await read(limits)
    assert line.keys == [1], "the version alone, which has not changed"


async def test_here_a_change_counts_at_once_also_for_what_was_refused(operator_client: Any, prefix: str) -> None:
    async with Hub(operator_client, key_prefix=prefix) as hub:
        limits = RedisLimits(hub, "api", default=THREE)
        limiter = RateLimiter(hub, limits, deny_cache=True)
        assert await limiter.hit("a", 3) and not await limiter.hit("a")
        assert (await limits.set("a", "5/hour")).was == ""
        assert (await limiter.hit("a")).remaining == 1
        assert await limiter.hit("a") and not await limiter.hit("a")
        change = await limits.set("a", "4/hour")
        assert change.was == "5/hour" and not await limiter.hit("a")
        assert (await limits.unset("a")).was == "4/hour"
        assert (await limiter.peek("a")).limits == (THREE,)
        for bad in ("", "x", "5/s; 6/s", "20000000/s"):
            with pytest.raises(ArgumentError):
                await limits.set("a", bad)
        with pytest.raises(ArgumentError, match="key"):
            await limits.set("", "5/s")


async def test_nonsense_gives_the_default_and_one_warning(
    hub: Hub, time: Time, raw_client: Any, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    limits = RedisLimits(hub, "api", default=THREE)
    limiter = RateLimiter(hub, limits)
    operator("b", "5/hour")
    key = LimitsCalls(hub.root, "api").key
    raw_client.hset(key, mapping={"a": "lots", "ä\n": b"\xff\x00", "c": "5/s; 5/s"})
    for _ in range(3):
        assert [d.limits for d in await limiter.hit_many(["a", "b", "c", "ä\n"])] == [
            (THREE,), (Limit(5, per=3600),), (THREE,), (THREE,),
        ]  # fmt: skip
        operator("other", "5/hour")
        time.now += FRESH
    assert sorted(record.message.split(":")[0] for record in caplog.records) == [
        "the default goes on for 'a'",
        "the default goes on for 'c'",
        "the default goes on for 'ä\\n'",
    ]


async def test_what_is_written_by_hand_is_noticed_within_a_minute(hub: Hub, time: Time, raw_client: Any) -> None:
    limits = RedisLimits(hub, "api", default=Limit(500, per=3600))
    limiter = RateLimiter(hub, limits)
    await limiter.hit("a")
    raw_client.hset(LimitsCalls(hub.root, "api").key, "a", "7/hour")
    counts = []
    for _ in range(int(BY_HAND / EARLY)):
        time.now += EARLY
        counts.append((await limiter.peek("a")).limit.count)
        await read(limits)
    assert counts[0] == 500 and counts[-1] == 7 and counts == sorted(counts, reverse=True)


async def test_the_hash_holds_something_else(hub: Hub, raw_client: Any, caplog: pytest.LogCaptureFixture) -> None:
    raw_client.set(LimitsCalls(hub.root, "api").key, "text", ex=60)
    limiter = RateLimiter(hub, RedisLimits(hub, "api", default=THREE))
    assert [bool(await limiter.hit("a")) for _ in range(4)] == [True, True, True, False]
    assert [record.message for record in caplog.records] == ["limits cannot be read, the last known go on: StateError"]


async def test_hostile_tenants(hub: Hub, operator: Operator) -> None:
    names = ["a:{b}", "%", "\x00", "\n", " ", "é", "e\u0301", "🔒", "x" * 10_000, "'", '"; DROP'] + ["-"] * 2
    for number, name in enumerate(names):
        operator(name, f"{number + 1}/hour")
    limiter = RateLimiter(hub, RedisLimits(hub, "api", default=THREE))
    decisions = await limiter.hit_many(names)
    assert [each.limit.count for each in decisions[:-2]] == list(range(1, len(names) - 1))
    assert {each.limit.count for each in decisions[-2:]} == {len(names)}
    for bad in ("", b"a", None, "\ud800"):
        for act in (limiter.hit, limiter.peek, limiter.reset, limiter.wait):
            with pytest.raises(ArgumentError, match="key"):
                await act(bad)  # type: ignore[operator]


async def test_many_keys_of_several_limits_go_in_few_calls(
    hub: Hub, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.preload()
    for number in range(100):
        operator(f"big-{number}", "7/hour")
    operator("several", "5/hour; 9/minute")
    limiter, line = RateLimiter(hub, RedisLimits(hub, "api", default=THREE)), Line(hub, monkeypatch)
    items = [f"{'big' if number % 2 else 'small'}-{number // 2 % 100}" for number in range(200)]
    decisions = await limiter.hit_many([*items, "several", "big-0", "big-0"])
    assert line.keys == [1, 100, 102, 2], "what is set, and one call for each set of limits"
    assert [each.key for each in decisions] == [*items, "several", "big-0", "big-0"]
    assert all(each.limit.count == (7 if each.key.startswith("big") else 3) for each in decisions[:200])
    assert [each.remaining for each in decisions[200:]] == [4, 5, 4] and len(decisions[200].limits) == 2


async def test_refunds_and_resets_across_a_change(hub: Hub, time: Time, operator: Operator) -> None:
    default = [Limit(10, per=3600, algorithm="gcra"), Limit(4, per=60)]
    limiter = RateLimiter(hub, RedisLimits(hub, "api", default=default))
    decision = await limiter.hit("a", 4)
    operator("a", "5/hour; 6/minute")
    time.now += FRESH
    before = await limiter.peek("a")
    assert before.limits[0].count == 5 and before.remaining == 2
    assert await limiter.refund("a", decision, 4) == 4
    assert await limiter.refund("a", decision, 4) == 0, "once"
    assert (await limiter.peek("a", 5)).allowed, "all of 5, and not more than was taken"
    assert await limiter.hit("a", 5) and not await limiter.hit("a")
    await limiter.reset("a")
    assert await limiter.hit("a", 5)
    with pytest.raises(ArgumentError, match="another limiter"):
        await limiter.refund("a", await RateLimiter(hub, THREE).hit("a"))


async def test_an_old_refund_takes_nothing_out_of_a_longer_window(client: Any, raw_client: Any, prefix: str) -> None:
    clock = VirtualClock()
    operator = riskscale.sync.Hub(raw_client, key_prefix=prefix, clock=clock)
    limiters = []
    for _ in range(2):
        hub = Hub(client, key_prefix=prefix, clock=clock)
        hub.monotonic = lambda: clock() / 1e6
        limiters.append(RateLimiter(hub, RedisLimits(hub, "api", default=Limit(5, per=10, name="quota"))))
    late, early = limiters
    await late.peek("a")
    operator.run(LimitsCalls(operator.root, "api").set("a", "10/hour"))
    assert (await early.hit("a", 4)).limit.count == 10
    clock.advance(0.4)
    decision = await late.hit("a")
    assert decision.limit.count == 5, "this one has not heard of it yet"
    clock.advance(9.8)
    assert (await late.peek("a")).remaining == 5
    assert await late.refund("a", decision) == 1
    assert (await late.peek("a")).remaining == 6, "the other 4, older than the window of that decision, count still"


async def test_a_reservation_is_of_the_limits_that_it_was_made_by(hub: Hub, time: Time, operator: Operator) -> None:
    limiter = RateLimiter(hub, RedisLimits(hub, "api", default=Limit(10, per=3600, algorithm="gcra")))
    reservation = await limiter.reserve("a", 4)
    operator("a", "5/hour")
    time.now += FRESH
    assert (await limiter.peek("a")).remaining == 3, "4 of 10 were 24 minutes; of 5 those are 2"
    assert await reservation.settle(1) == 3
    assert (await limiter.peek("a")).remaining == 4
    assert (await limiter.reserve("a", 1)).decision.limits[0].count == 5


async def test_several_limiters_at_once_have_no_sources(hub: Hub) -> None:
    with pytest.raises(ArgumentError, match="limiters"):
        MultiRateLimiter([RateLimiter(hub, RedisLimits(hub, "api", default=THREE))])


async def test_who_waits_hears_of_more(hub: Hub, operator: Operator) -> None:
    limiter = RateLimiter(hub, RedisLimits(hub, "api", default=THREE))
    assert await limiter.hit("a", 3)
    waiting = asyncio.create_task(limiter.wait("a"))
    await asyncio.sleep(0)
    operator("a", "4/hour")
    assert (await asyncio.wait_for(waiting, 30)).remaining == 0


async def test_header_fields_show_the_limits_of_the_key(hub: Hub, operator: Operator) -> None:
    operator("gold", "50/minute; 7/hour")
    limiter = RateLimiter(hub, RedisLimits(hub, "api", default=THREE), name="api")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    guarded = ASGILimit(app, limiter, key=lambda scope: scope["tenant"])
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(dict(message["headers"])[b"ratelimit-policy"])

    for tenant in ("gold", "b"):
        await guarded({"type": "http", "path": "/", "headers": [], "tenant": tenant}, None, send)  # type: ignore[arg-type]
    assert sent == [b'"api-60s";q=50;w=60, "api-3600s";q=7;w=3600', b'"api-3600s";q=3;w=3600']


async def test_who_gives_up_or_closes_disturbs_nobody(
    hub: Hub, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator("a", "5/hour")
    await hub.preload()
    gate, real = asyncio.Event(), hub.client.evalsha

    async def evalsha(*words: Any) -> Any:
        await gate.wait()
        return await real(*words)

    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    limiter = RateLimiter(hub, RedisLimits(hub, "api", default=THREE))
    impatient = RateLimiter(hub, RedisLimits(hub, "api", default=THREE), timeout=0.01, on_error="allow")
    assert (await impatient.hit("a")).limits == (THREE,), "its time is up: what is known, which is nothing yet"
    hits = [asyncio.create_task(limiter.hit("a")) for _ in range(3)]
    while not limiter._plans.source._task:  # type: ignore[union-attr]
        await asyncio.sleep(0)
    hits[0].cancel()
    closing = asyncio.create_task(hub.aclose())
    await asyncio.sleep(0)
    gate.set()
    done = await asyncio.gather(*hits, return_exceptions=True)
    await closing
    assert [type(each) for each in done] == [asyncio.CancelledError, HubClosed, HubClosed]
    with pytest.raises(HubClosed):
        await limiter.hit("a")


@pytest.mark.embedded  # a bare client has no prefix
async def test_a_bare_client_is_enough(client: Any) -> None:
    limits = RedisLimits(client, "api", default=THREE)
    limiter = RateLimiter(client, limits)
    assert await limiter.hit("a") and limits._task is None


def test_in_threads(
    sync_hub: riskscale.sync.Hub, operator: Operator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time(sync_hub)
    sync_hub.preload()
    limits = riskscale.sync.RedisLimits(sync_hub, "api", default=THREE)
    limiter = riskscale.sync.RateLimiter(sync_hub, limits, name="api", deny_cache=True)
    line = Line(sync_hub, monkeypatch)
    decision = limiter.hit("a", 3)
    assert decision and not limiter.hit("a") and not limiter.hit("a")
    assert line.keys == [1, 1, 1]
    operator("a", "5/hour")
    operator("b", "9/hour")
    time.now += EARLY
    assert limiter.hit("a").remaining == 1
    assert [each.limit.count for each in limiter.hit_many(["a", "b", "c", "b"])] == [5, 9, 3, 9]
    assert limiter.refund("a", decision, 3) == 3 and limiter.peek("a").remaining == 3
    limiter.reset("a")
    assert limiter.hit("a", 5) and not limiter.hit("a")
    with pytest.raises(ArgumentError, match="key"):
        limiter.hit("")
    assert not caplog.records


# Other sources


class Own:
    """A user's."""

    def __init__(self) -> None:
        self.limits: Any = THREE

    def refresh(self, keys: Sequence[str]) -> None: ...

    def known(self, keys: Sequence[str]) -> list[Any]:
        return [self.limits] * len(keys)


async def test_a_source_of_the_users_own(hub: Hub, sync_hub: riskscale.sync.Hub) -> None:
    own = Own()
    assert isinstance(own, LimitSource)
    limiter = RateLimiter(hub, own)
    assert limiter.limits == () and "Own" in repr(limiter)
    assert (await limiter.hit("a")).limits == (THREE,)
    own.limits = [THREE, Limit(1, per=60)]
    assert await limiter.hit("a") and not await limiter.hit("a")
    assert riskscale.sync.RateLimiter(sync_hub, own).hit("b").limits == (THREE, Limit(1, per=60))


async def test_static_limits(hub: Hub, sync_hub: riskscale.sync.Hub) -> None:
    limits = StaticLimits({"gold": Limit(5, per=3600), "both": [THREE, Limit(1, per=60)]}, default=THREE)
    limiter = RateLimiter(hub, limits)
    assert [len(each.limits) for each in await limiter.hit_many(["gold", "both", "x"])] == [1, 2, 1]
    assert riskscale.sync.RateLimiter(sync_hub, limits).hit("gold").remaining == 3
    for bad in ({"a": []}, {"": THREE}, {"a": "5/s"}, {"a": [THREE, THREE]}):
        with pytest.raises(ArgumentError, match="limits"):
            StaticLimits(bad, default=THREE)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="default"):
        StaticLimits({}, default=[])


def tiers(key: str) -> Any:
    if key == "broken":
        raise RuntimeError("no\nway")
    return {"gold": Limit(5, per=3600), "none": None, "odd": "5/s"}.get(key, [THREE])


async def test_a_function(hub: Hub, sync_hub: riskscale.sync.Hub, caplog: pytest.LogCaptureFixture) -> None:
    keys, counts = ["gold", "none", "x", "broken", "odd"], [5, 2, 3, 2, 2]
    default = Limit(2, per=3600)
    asynchronous = RateLimiter(hub, CallableLimits(tiers, default))
    assert [each.limit.count for each in await asynchronous.hit_many(keys * 2)] == counts * 2
    blocking = riskscale.sync.RateLimiter(sync_hub, riskscale.sync.CallableLimits(tiers, default), name="b")
    assert [each.limit.count for each in blocking.hit_many(keys)] == counts
    assert len(caplog.records) == 4 and all("\n" not in record.message for record in caplog.records)
    with pytest.raises(ArgumentError, match="function"):
        CallableLimits("tiers", default)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="use riskscale"):
        riskscale.sync.CallableLimits(asyncio.sleep, default)


async def test_a_coroutine_function_is_asked_once_a_second(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []
    found = {"a": Limit(5, per=3600)}

    class Database:
        async def __call__(self, key: str) -> Limit | None:
            asked.append(key)
            await asyncio.sleep(0)
            if key == "gone" and len(asked) > 3:
                raise OSError("gone")
            return found.get(key, THREE)

    limits = CallableLimits(Database(), default=Limit(2, per=3600))
    limits._known._monotonic = lambda: now
    now = 1000.0
    limiter = RateLimiter(hub, limits)
    keys = ["a", "b", "gone"]
    assert [each.limit.count for each in await limiter.hit_many(keys)] == [5, 3, 3]
    await asyncio.gather(*(limiter.hit("a") for _ in range(4)))
    assert sorted(asked) == keys
    found["a"] = Limit(9, per=3600)
    now += EARLY
    assert (await limiter.peek("a")).limit.count == 5, "asked again, while nobody waits"
    while limits._task:
        await asyncio.sleep(0)
    assert (await limiter.peek("a")).limit.count == 9 and asked.count("b") == 1
    now += EARLY
    assert (await limiter.peek("gone")).limit.count == 3, "the last known, though it fails"
    assert [record.message for record in caplog.records] == ["the last known limits go on for 'gone': 'OSError: gone'"]


async def test_a_coroutine_function_that_hangs_holds_up_nobody_for_long(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riskscale.limits.source.LONGEST", 0.01)

    async def hang(key: str) -> Limit:
        if key == "a":
            await asyncio.Event().wait()
        return THREE

    limiter = RateLimiter(hub, CallableLimits(hang, default=Limit(2, per=3600)))
    assert [each.limit.count for each in await limiter.hit_many(["a", "b"])] == [2, 3]


async def test_a_source_of_the_other_kind_is_refused(hub: Hub, sync_hub: riskscale.sync.Hub) -> None:
    for source in (RedisLimits(hub, "api", default=THREE), CallableLimits(tiers, THREE)):
        with pytest.raises(ArgumentError, match="limits"):
            riskscale.sync.RateLimiter(sync_hub, source)
    with pytest.raises(ArgumentError, match="limits"):
        RateLimiter(hub, riskscale.sync.RedisLimits(sync_hub, "api", default=THREE))


@pytest.mark.parametrize(
    ("argument", "words"),
    [("name", {"name": ""}), ("name", {"name": None}), ("default", {"default": []}), ("default", {"default": "5/s"})],
)
async def test_bad_arguments(hub: Hub, argument: str, words: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=argument):
        RedisLimits(hub, **{"name": "api", "default": THREE, **words})
