"""Several limiters as one, where one call decides: all or nothing, and who said no."""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import riskscale.sync
from riskscale import (
    ArgumentError,
    Hub,
    InMemoryMetrics,
    Limit,
    MultiDecision,
    MultiRateLimiter,
    RateLimiter,
    StateError,
)
from riskscale.rate._model import MODELS, RateModel, hit
from riskscale.rate.calls import Plan
from riskscale.rate.limit import Algorithm
from riskscale.rate.multi import MultiPlan
from riskscale.testing import VirtualClock
from tests.rate.machine import limits
from tests.rate.test_coalescer import Line
from tests.rate.test_denials import Counted

TENANT, PLAN, ALL = Limit(2, per=3600), Limit(3, per=3600, algorithm="fixed_window"), Limit(4, per=60, algorithm="gcra")


def three(hub: Any, package: Any = riskscale) -> list[Any]:
    """Limiters of a tenant, its plan, and everybody."""
    limiters = {"tenant": TENANT, "plan": PLAN, "all": ALL}
    return [package.RateLimiter(hub, limit, name=name) for name, limit in limiters.items()]


def of(tenant: str, plan: str = "gold") -> dict[str, str]:
    return {"tenant": tenant, "plan": plan, "all": "all"}


async def left(hub: Hub, *keys: str) -> list[int]:
    return [(await limiter.peek(key)).remaining for limiter, key in zip(three(hub), keys, strict=True)]


async def test_all_or_nothing_and_who_said_no(hub: Hub) -> None:
    every = MultiRateLimiter(three(hub))
    first = await every.hit(of("a"), 2)
    assert first and (first.limiter, first.key, first.limit, first.remaining) == ("tenant", "a", TENANT, 0)
    over = await every.hit(of("a"))
    assert not over and (over.limiter, over.key, over.limit) == ("tenant", "a", TENANT) and over.retry_after > 3500
    plan = await every.hit(of("b"), 2)
    assert not plan and (plan.limiter, plan.key, plan.limit) == ("plan", "gold", PLAN)
    assert await left(hub, "b", "gold", "all") == [2, 1, 2], "a refusal charged somebody"
    assert await every.hit(of("b", "free"), 2)
    everybody = await every.hit(of("c", "free"))
    assert (everybody.limiter, everybody.key, everybody.keys) == ("all", "all", ("c", "free", "all"))
    assert 0 < everybody.retry_after <= 15
    assert (await every.hit(of("c"), 3)).retry_after == math.inf


async def test_each_limiter_goes_on_by_itself(hub: Hub) -> None:
    every, (tenant, plan, _) = MultiRateLimiter(three(hub)), three(hub)
    assert await tenant.hit("a") and await plan.hit("gold", 2)
    assert (await every.hit(of("a"))).remaining == 0 and not await tenant.hit("a")
    await tenant.reset("a")
    assert (await every.hit(of("a"))).limiter == "plan", "which is used up"


async def test_a_refund_gives_everything_back_once(hub: Hub) -> None:
    every = MultiRateLimiter(three(hub))
    decision = await every.hit(of("a"), 2)
    assert [await every.refund(of("a"), decision, 2) for _ in range(2)] == [2, 0]
    assert (await left(hub, "a", "gold", "all"))[:2] == [2, 3]
    for argument, key, each in [
        ("key", of("b"), decision), ("key", of("a", "free"), decision), ("decision", of("a"), None),
        ("decision", of("a"), await three(hub)[0].peek("a")), ("key", "a", decision),
        ("key", of("a"), await three(hub)[0].hit("a")),
    ]:  # fmt: skip
        with pytest.raises(ArgumentError) as caught:
            await every.refund(key, each)  # type: ignore[arg-type]
        assert caught.value.argument == argument
    with pytest.raises(ArgumentError, match="another limiter"):
        await MultiRateLimiter(three(hub)).refund(of("a"), decision)


async def test_a_poisoned_key_is_named_and_nothing_is_charged(hub: Hub, raw_client: Any) -> None:
    key = hub.key("gold") + ":rate:plan:3600s:fixed_window"
    raw_client.lpush(key, "x")
    raw_client.expire(key, 60)
    every = MultiRateLimiter(three(hub))
    with pytest.raises(StateError, match="'gold'"):
        await every.hit(of("a"))
    bad, good = await every.hit_many([of("a"), of("a", "free")], return_exceptions=True)
    assert isinstance(bad, StateError) and good
    assert (await three(hub)[0].peek("a")).remaining == 1


async def test_hits_of_one_turn_are_one_call(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.preload()
    line, one, two = Line(hub, monkeypatch), MultiRateLimiter(three(hub)), MultiRateLimiter(three(hub))
    decisions = await asyncio.gather(*(each.hit(of(f"t{number}")) for each in (one, two) for number in range(3)))
    assert line.items == [18], "three keys each"
    assert [decision.allowed for decision in decisions] == [True] * 3 + [False] * 3
    many = await one.hit_many([of(f"m{number}", f"p{number}") for number in range(60)])
    assert sum(map(bool, many)) == 1 and line.items[1:] == [126, 54], "128 keys a call"
    assert [decision.keys[0] for decision in many[:2]] == ["m0", "m1"]


async def test_it_waits_until_all_admit(hub: Hub) -> None:
    slow = RateLimiter(hub, Limit(1, per=0.2), name="slow")
    every = MultiRateLimiter([slow, RateLimiter(hub, Limit(9, per=60), name="wide")])
    stamps = [(await every.wait({"slow": "a", "wide": "b"})).at for _ in range(3)]
    assert stamps[2] - stamps[0] >= 0.4
    assert not await every.wait({"slow": "a", "wide": "b"}, cost=2)


async def test_what_one_limit_refused_it_refuses_here_to_everybody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.preload()
    every, (_, _, everybody) = MultiRateLimiter(three(hub), deny_cache=True), three(hub)
    held = await everybody.hit("all", 4)
    assert (await every.hit(of("a"))).limiter == "all"
    line = Counted(hub, monkeypatch)
    for tenant in "abc":
        refused = await every.hit(of(tenant, tenant))
        assert (refused.limiter, refused.key, refused.keys) == ("all", "all", (tenant, tenant, "all"))
        assert 0 < refused.retry_after <= 15
    assert line.calls == 0
    await everybody.refund("all", held, 4)
    assert await every.hit(of("a")), "a refund by any of them ends it"
    once = RateLimiter(hub, ALL, name="all", deny_cache=True)
    assert await once.hit("all", 3) and not await once.hit("all")
    assert not await every.hit(of("z", "z")) and line.calls == 4, "what the limiter alone was refused counts too"


@pytest.mark.embedded
async def test_without_the_server_each_key_has_its_share(hub: Hub, backend: Any) -> None:
    every = MultiRateLimiter(three(hub), on_error="local", replicas=2)
    with backend.outage:
        first, second = await every.hit(of("a")), await every.hit(of("a"))
        assert first and first.degraded and (second.limiter, second.key) == ("tenant", "a")
        third = await every.hit(of("b"))
        assert not third and third.degraded and (third.limiter, third.limit) == ("plan", PLAN)
        assert await every.hit(of("b", "free")) and (await every.hit(of("c", "x"))).limiter == "all"
        assert [await every.refund(of("a"), first) for _ in range(2)] == [1, 0]
        assert await every.hit(of("a"))


@pytest.mark.embedded
async def test_decisions_are_counted(connect: Any, prefix: str) -> None:
    metrics = InMemoryMetrics()
    async with Hub(connect(), key_prefix=prefix, metrics=metrics) as hub:
        every = MultiRateLimiter(three(hub))
        await every.hit_many([of("a"), of("a"), of("a")])
    for outcome, many in (("admitted", 2), ("refused", 1)):
        assert metrics.total("rate_decisions", limiter="tenant + plan + all", outcome=outcome, degraded="no") == many
    assert metrics.total("rate_decisions") == 3


def test_in_threads(sync_hub: riskscale.sync.Hub) -> None:
    every = riskscale.sync.MultiRateLimiter(three(sync_hub, riskscale.sync))
    decision = every.hit(of("a"), 2)
    assert decision and (every.peek(of("a")).limiter, every.hit(of("a")).limiter) == ("tenant", "tenant")
    assert every.refund(of("a"), decision, 2) == 2
    assert [bool(each) for each in every.hit_many([of("a"), of("b"), of("c"), of("d")])] == [True] * 3 + [False]


async def test_bad_input(hub: Hub, client: Any, raw_client: Any, prefix: str) -> None:
    tenant, plan, everybody = three(hub)
    for limiters in (
        [], ["tenant"], [tenant, tenant], [tenant, RateLimiter(client, TENANT, name="else")],
        [RateLimiter(hub, [Limit(1, per=n + 1) for n in range(32)], name="many"), tenant],
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match="limiters"):
            MultiRateLimiter(limiters)  # type: ignore[arg-type]
    every = MultiRateLimiter([tenant, plan, everybody])
    for key in (
        "a", None, {}, {"tenant": "a"}, {**of("a"), "more": "x"}, of(""), of("\ud800"), {**of("a"), "all": 1},
        {**of("a"), "all": []}, {"tenant": "a", "plan": "b", "All": "c"},
    ):  # fmt: skip
        for act in (every.hit(key), every.peek(key), every.hit_many([of("a"), key])):  # type: ignore[arg-type]
            with pytest.raises(ArgumentError, match="key"):
                await act
    for cost in (0, -1, 1.5, True):
        with pytest.raises(ArgumentError, match="cost"):
            await every.hit(of("a"), cost)  # type: ignore[arg-type]
    assert not list(raw_client.scan_iter(f"{prefix}*"))


names = st.text(st.sampled_from(":{}%a b\x00é"), min_size=1, max_size=4)


@given(one=st.tuples(names, names), two=st.tuples(names, names), tags=st.tuples(*[st.one_of(st.none(), names)] * 2))
def test_no_key_of_one_limiter_is_another_limiters(
    one: tuple[str, str], two: tuple[str, str], tags: tuple[str | None, str | None]
) -> None:
    """Whatever a tenant calls itself."""
    limit = Limit(1, per=60)
    plans = [Plan("rs1", limit, name, tag) for (name, _), tag in zip((one, two), tags, strict=True)]
    if one[0] != two[0]:
        keys = MultiPlan(plans, None).keys((one[1], two[1]))  # type: ignore[arg-type]
        assert len(set(keys)) == 2


SERIAL = itertools.count()
ALGORITHMS: list[list[Algorithm]] = [["sliding_log", "gcra"], ["sliding_window"], ["fixed_window", "sliding_log"]]


class MultiMachine(RuleBasedStateMachine):
    """The group, its limiters alone, and their models side by side, in virtual time."""

    client: ClassVar[Any]
    prefix: ClassVar[str]

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.clock = VirtualClock()
        self.hub = riskscale.sync.Hub(self.client, key_prefix=self.prefix, clock=self.clock)
        self.run = next(SERIAL)
        self.limits = [[data.draw(limits(algorithm)) for algorithm in each] for each in ALGORITHMS]
        self.limiters = [
            riskscale.sync.RateLimiter(self.hub, each, name=f"limiter-{index}")
            for index, each in enumerate(self.limits)
        ]
        self.every = riskscale.sync.MultiRateLimiter(self.limiters)
        self.models: dict[tuple[int, int, str], RateModel] = {}
        self.admitted: list[MultiDecision] = []

    def states(self, index: int, key: str) -> list[RateModel]:
        pairs = enumerate(ALGORITHMS[index])
        return [self.models.setdefault((index, at, key), MODELS[algorithm]()) for at, algorithm in pairs]

    def expected(self, keys: tuple[str, ...], cost: int, charge: bool) -> list[tuple[int, int, str, Limit]]:
        """(retry_us, remaining, the limiter's name, the limit) of each limit."""
        states = [state for index, key in enumerate(keys) for state in self.states(index, key)]
        flat = [limit for each in self.limits for limit in each]
        outcomes = hit(states, flat, cost, self.clock(), charge)
        owners = [f"limiter-{index}" for index, each in enumerate(self.limits) for _ in each]
        return [(o.retry_us, o.remaining, owner, limit) for o, owner, limit in zip(outcomes, owners, flat, strict=True)]

    @rule(by=st.sampled_from([0, 1, 7, 1000, 10**6, 10**8]))
    def time_passes(self, by: int) -> None:
        self.clock.advance(us=by)

    @rule(keys=st.tuples(*[st.sampled_from("ab")] * 3), cost=st.integers(1, 4), charge=st.booleans())
    def ask_all(self, keys: tuple[str, ...], cost: int, charge: bool) -> None:
        keys = tuple(f"{key}{self.run}" for key in keys)
        named = {f"limiter-{index}": key for index, key in enumerate(keys)}
        decision = self.every.hit(named, cost) if charge else self.every.peek(named, cost)
        rows = self.expected(keys, cost, charge)
        assert decision.allowed == (not any(row[0] for row in rows)) and decision.remaining == min(
            row[1] for row in rows
        )
        longest = math.inf if any(row[0] < 0 for row in rows) else max(row[0] for row in rows)
        assert decision.retry_after == (longest / 1e6 if longest < math.inf else longest)
        said = [
            (owner, limit) for retry, remaining, owner, limit in rows if self.binds(retry, remaining, longest, rows)
        ]
        assert (decision.limiter, decision.limit) in said and decision.key == named[decision.limiter]
        if charge and decision:
            self.admitted.append(decision)

    @staticmethod
    def binds(retry: int, remaining: int, longest: float, rows: list[tuple[int, int, str, Limit]]) -> bool:
        if longest == 0:
            return remaining == min(row[1] for row in rows)
        return retry < 0 if longest == math.inf else retry == longest

    @rule(index=st.integers(0, 2), key=st.sampled_from("ab"), cost=st.integers(1, 4))
    def ask_one(self, index: int, key: str, cost: int) -> None:
        key = f"{key}{self.run}"
        outcomes = hit(self.states(index, key), self.limits[index], cost, self.clock())
        assert self.limiters[index].hit(key, cost).allowed == (not any(o.retry_us for o in outcomes))

    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        if not self.admitted:
            return
        decision = self.admitted.pop(data.draw(st.integers(0, len(self.admitted) - 1)))
        named = {f"limiter-{index}": key for index, key in enumerate(decision.keys)}
        at_us, back = round(decision.at * 1e6), []
        for index, key in enumerate(decision.keys):
            for state, limit in zip(self.states(index, key), self.limits[index], strict=True):
                back.append(state.refund(limit, decision.cost, at_us, self.clock()))
        assert self.every.refund(named, decision, decision.cost) == min(back)
        assert self.every.refund(named, decision, decision.cost) == 0 or min(back) == 0


def test_it_decides_as_its_models(sync_client: Any, prefix: str, examples: settings) -> None:
    fewer = settings(max_examples=max(5, examples.max_examples // 4), stateful_step_count=25)
    run_state_machine_as_test(
        type("Machine", (MultiMachine,), {"client": sync_client, "prefix": prefix}), settings=fewer
    )
