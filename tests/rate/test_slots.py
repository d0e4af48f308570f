"""Several limiters on a cluster, slot by slot: whatever is lost, cut or interleaved, no limit is exceeded.

Afterwards the keys hold what was admitted, and what could not be given back: the units of calls whose reply was lost,
and of callers that were killed. Here one server plays the cluster; ``tests/cluster`` has a real one.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

import riskscale.sync
from riskscale import Hub, HubClosed, Limit, MultiDecision, RateLimiter
from riskscale._core.call import Cleanup, Finish
from riskscale.rate.limit import Algorithm
from riskscale.rate.multi import decide
from riskscale.testing import VirtualClock, fake_client, new_fake_server
from tests.lease.test_unknown_outcome import BYSTANDER, POINTS, Failing
from tests.rate.test_coalescer import Line, turns
from tests.rate.test_denials import Counted
from tests.rate.test_model import most_in_any_window

NAMES = ("tenant", "plan", "all")
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


def keyslot(key: bytes) -> int:
    """A slot for each limiter."""
    return NAMES.index(key.split(b":rate:")[1].split(b":")[0].decode())


def spread(hub: Any) -> Any:
    """The hub, which takes its server for a cluster."""
    hub.is_cluster, hub.client.keyslot = True, keyslot
    return hub


def of(tenant: str, plan: str = "gold") -> dict[str, str]:
    return {"tenant": tenant, "plan": plan, "all": "all"}


def three(hub: Any, package: Any = riskscale, counts: tuple[int, ...] = (2, 3, 4), **options: Any) -> Any:
    limits = [Limit(count, per=3600) for count in counts]
    limiters = [package.RateLimiter(hub, limit, name=name) for limit, name in zip(limits, NAMES, strict=True)]
    return package.MultiRateLimiter(limiters, **options)


async def used(hub: Hub, keys: dict[str, str], counts: tuple[int, ...] = (2, 3, 4)) -> list[int]:
    pairs = zip(counts, NAMES, strict=True)
    limiters = [RateLimiter(hub, Limit(count, per=3600), name=name, coalesce=False) for count, name in pairs]
    return [each.limits[0].count - (await each.peek(keys[each.name])).remaining for each in limiters]


# Interleavings, in virtual time


class Killed(BaseException):
    """The caller is no more."""


@dataclass
class Caller:
    """One request: where its flow is, and the call that it does not wait for any more."""

    flow: Any
    keys: dict[str, str]
    cost: int
    step: Any = None
    under_way: list[Any] = field(default_factory=list)
    decision: Any = None


class World:
    """Callers whose steps happen in any order, each with any fate."""

    def __init__(self, limits: list[Limit]) -> None:
        self.clock = VirtualClock()
        self.hub = spread(riskscale.sync.Hub(fake_client(new_fake_server()), clock=self.clock))
        pairs = zip(limits, NAMES, strict=True)
        self.limiters = [riskscale.sync.RateLimiter(self.hub, limit, name=name) for limit, name in pairs]
        self.plan = riskscale.sync.MultiRateLimiter(self.limiters)._plan
        self.callers: list[Caller] = []
        self.stranded: Counter[tuple[str, str]] = Counter()
        self.charged: list[tuple[str, str, int, int]] = []

    def begin(self, tenant: str, plan: str, cost: int) -> None:
        keys = of(tenant, plan)
        caller = Caller(decide(self.plan, self.plan.subject(keys), cost, True), keys, cost)
        self.callers.append(caller)
        self.resume(caller, None)

    @property
    def living(self) -> list[Caller]:
        return [caller for caller in self.callers if caller.step is not None]

    def resume(self, caller: Caller, value: Any) -> None:
        try:
            caller.step = caller.flow.throw(value) if isinstance(value, BaseException) else caller.flow.send(value)
        except StopIteration as end:
            caller.step, caller.decision = None, end.value
        except (redis.ConnectionError, asyncio.CancelledError):
            caller.step = None

    def run(self, caller: Caller, call: Any, lost: bool = False) -> Any:
        """The server carries it out; whether anybody hears of it is another matter."""
        reply = []
        outcome = self.hub.run(type(call)(call.script, call.keys, call.args, lambda raw: reply.append(raw) or raw))
        if lost and call.script == "rate.all_of" and not any([int(n) for n in outcome.split()][1::3]):
            self.strand(caller, call.keys[0], caller.cost)
        return None if lost else call.decode(reply[0])

    def strand(self, caller: Caller, key: bytes, units: int) -> None:
        name = NAMES[keyslot(key)]
        self.stranded[name, caller.keys[name]] += units

    def settle(self, caller: Caller) -> None:
        while caller.under_way:
            self.run(caller, caller.under_way.pop())

    def happen(self, caller: Caller, fate: str) -> None:
        """The next step of a caller."""
        step = caller.step
        if isinstance(step, Cleanup):
            self.settle(caller)
            call = step.made()
            if call is not None and fate == "never sent":
                self.strand(caller, call.keys[0], caller.cost)
            elif call is not None:
                for _ in range(2 if fate == "lost" else 1):  # the client sent it again
                    self.run(caller, call)
            return self.resume(caller, asyncio.CancelledError() if fate == "cancelled" else None)
        assert isinstance(step, Finish)
        match fate:
            case "lost":
                self.run(caller, step.call, lost=True)
                return self.resume(caller, redis.ConnectionError("lost"))
            case "never sent":
                return self.resume(caller, redis.ConnectionError("never sent"))
            case "cancelled":
                caller.under_way.append(step.call)
                return self.resume(caller, asyncio.CancelledError())
        return self.resume(caller, self.run(caller, step.call))

    def kill(self, caller: Caller) -> None:
        """What it had charged stays, and so does what is under way."""
        asked = caller.flow.gi_frame.f_locals["asked"]
        self.settle(caller)
        for each in asked:
            call = each.give_back()
            if call is not None and not self.hub.client.exists(call.keys[1]):
                self.strand(caller, call.keys[0], caller.cost)
        caller.flow.close()
        caller.step = None

    def admitted(self) -> list[tuple[MultiDecision, Caller]]:
        return [(each.decision, each) for each in self.callers if each.decision]


FATES = ["fine"] * 6 + ["cancelled"] * 2 + ["lost", "never sent", "killed"]
events = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(FATES), st.sampled_from("ab"), st.sampled_from([1, 1, 1, 2])),
    min_size=60,
    max_size=100,
)
some_limits = st.tuples(*[st.tuples(st.integers(2, high), st.sampled_from(ALGORITHMS)) for high in (6, 6, 4)])


def live(world: World, events: list[tuple[int, str, str, int]], gap_us: int) -> None:
    """Whoever is chosen takes a step; whoever is not there yet begins."""
    for who, fate, tenant, cost in events:
        world.clock.advance(us=gap_us)
        living = world.living
        if who >= len(living):
            world.begin(tenant, "gold" if cost == 1 else "free", cost)
        elif fate == "killed":
            world.kill(living[who])
        else:
            world.happen(living[who], fate)
    while world.living:
        world.happen(world.living[0], "fine")


@settings(max_examples=settings.default.max_examples // 3)
@given(limits=some_limits, events=events)
def test_afterwards_the_keys_hold_what_was_admitted(
    limits: tuple[tuple[int, Algorithm], ...], events: list[tuple[int, str, str, int]]
) -> None:
    """All within one window."""
    world = World([Limit(count, per=3600, algorithm=algorithm) for count, algorithm in limits])
    live(world, events, gap_us=1)
    wanted = Counter(world.stranded)
    for _, caller in world.admitted():
        for name, key in caller.keys.items():
            wanted[name, key] += caller.cost
    for limiter in world.limiters:
        limit = limiter.limits[0]
        for key in ("a", "b", "gold", "free", "all"):
            there = limit.count - limiter.peek(key).remaining
            late = limit.algorithm == "gcra"  # a refund is short of what drained since: by less than a unit
            assert wanted[limiter.name, key] <= there <= wanted[limiter.name, key] + late, (limiter.name, key)
            assert there <= limit.count


@settings(max_examples=settings.default.max_examples // 3)
@given(count=st.integers(1, 4), events=events, part=st.sampled_from([3, 7, 20]))
def test_no_window_holds_more_than_the_limit(count: int, events: list[tuple[int, str, str, int]], part: int) -> None:
    world = World(
        [Limit(count, per=60), Limit(count + 1, per=60), Limit(2 * count, per=60, algorithm="sliding_window")]
    )
    live(world, events, gap_us=60_000_000 // part)
    for index, name in enumerate(NAMES):
        admitted: dict[str, list[tuple[int, int]]] = {}
        for decision, caller in world.admitted():
            at_us = round(decision.parts[index].at * 1e6)
            admitted.setdefault(caller.keys[name], []).append((at_us, caller.cost))
        for stamps in admitted.values():
            assert most_in_any_window(sorted(stamps), 60_000_000) <= world.limiters[index].limits[0].count


# The same through the hubs


@pytest.fixture
async def spread_hub(hub: Hub) -> Hub:
    await hub.preload()
    return spread(hub)  # type: ignore[no-any-return]


async def test_what_is_shared_by_most_is_asked_last(spread_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    every, line = three(spread_hub), Counted(spread_hub, monkeypatch)
    admitted = await every.hit(of("a"), 2)
    assert admitted and line.calls == 3 and [part.limiter for part in admitted.parts] == ["tenant", "plan", "all"]
    over = await every.hit(of("a"))
    assert (over.limiter, over.key, over.keys) == ("tenant", "a", ("a", "gold", "all")) and line.calls == 4
    plan = await every.hit(of("b"), 2)
    assert (plan.limiter, line.calls) == ("plan", 7), "the tenant is asked, the plan refuses, the tenant is given back"
    assert await used(spread_hub, of("b")) == [0, 2, 2]
    plan_of, abc = every._plan, ("a", "b", "c")
    for slot_of, order in [
        (lambda key: 7, [abc]),
        (lambda key: keyslot(key) % 2, [("b",), ("a", "c")]),
        (lambda key: keyslot(key) < 2, [("a", "b"), ("c",)]),
    ]:
        monkeypatch.setattr(spread_hub.client, "keyslot", slot_of)
        plan_of.slots.cache_clear()
        assert [keys for _, keys in plan_of.slots(abc)] == order


async def test_a_refund_gives_everything_back_once(spread_hub: Hub) -> None:
    every = three(spread_hub)
    decision = await every.hit(of("a"), 2)
    assert await used(spread_hub, of("a")) == [2, 2, 2]
    assert [await every.refund(of("a"), decision, 2) for _ in range(2)] == [2, 0]
    assert await used(spread_hub, of("a")) == [0, 0, 0]
    peeked = await every.peek(of("a"), 3)
    assert (peeked.limiter, peeked.retry_after) == ("tenant", math.inf) and await used(spread_hub, of("a")) == [0, 0, 0]


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("refused", [False, True])
async def test_a_failure_at_each_call(
    spread_hub: Hub, monkeypatch: pytest.MonkeyPatch, point: str, at: int, refused: bool
) -> None:
    """Of three hits that are admitted; or of two, the last of which refuses, and the refund of the first."""
    held = 0
    if refused:
        assert await three(spread_hub).hit(of("b"), 2) and await three(spread_hub).hit(of("c"))
        held = 3
    failing = Failing(spread_hub, monkeypatch)
    task = asyncio.create_task(three(spread_hub).hit(of("a")))
    failing.next(at, point, task)
    await asyncio.wait({task})
    BYSTANDER.set(True)
    charged = 0
    lost = point == "error after the send"
    if not task.cancelled() and task.exception() is None:  # a refund that failed is no failure of the hit
        assert refused and at == 3 and not task.result()
        lost = point == "error before the send"
    else:
        assert task.cancelled() == point.startswith("cancelled")
    wanted = [charged, held, held]
    if lost and not (refused and at == 2):  # one that refused has charged nothing
        wanted[0 if refused else at - 1] += 1

    async def settled() -> None:
        while await used(spread_hub, of("a")) != wanted:
            await asyncio.sleep(0.001)

    await asyncio.wait_for(settled(), 10)


async def test_a_decision_that_runs_out_of_time_waits_for_no_refund(
    spread_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stalled(Line):
        async def __call__(self, sha: str, numkeys: int, *words: Any) -> Any:
            if keyslot(words[0]) == 1:
                await self.open.wait()
            return await self.real(sha, numkeys, *words)

    monkeypatch.setattr("riskscale._core.hub.GRACE", 3600)
    line = Stalled(spread_hub, monkeypatch)
    line.open.clear()
    every = three(spread_hub, timeout=0.05, on_error="deny")
    decision = await asyncio.wait_for(every.hit(of("a")), 10)
    assert not decision and decision.degraded
    assert await RateLimiter(spread_hub, Limit(2, per=3600), name="tenant").peek("a"), "the refund waits for the plan"
    line.open.set()

    async def settled() -> None:
        while await used(spread_hub, of("a")) != [0, 0, 0]:
            await asyncio.sleep(0.001)

    await asyncio.wait_for(settled(), 10)


async def test_closing_gives_back(spread_hub: Hub, monkeypatch: pytest.MonkeyPatch, client: Any, prefix: str) -> None:
    line = Line(spread_hub, monkeypatch)
    line.open.clear()
    task = asyncio.create_task(three(spread_hub).hit(of("a")))
    await turns()
    closing = asyncio.create_task(spread_hub.aclose(timeout=30))
    await turns()
    line.open.set()
    await closing
    with pytest.raises(HubClosed):
        await task
    monkeypatch.undo()
    async with Hub(client, key_prefix=prefix) as other:
        assert await used(other, of("a")) == [0, 0, 0]


async def test_many_and_the_deny_cache(spread_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    every, line = three(spread_hub, deny_cache=True), Counted(spread_hub, monkeypatch)
    many = await every.hit_many([of("a"), (of("a"), 2), of("b"), of("c"), of("d", "free"), of("e", "free")])
    assert [(each.allowed, each.limiter if not each else "") for each in many] == [
        (True, ""), (False, "tenant"), (True, ""), (True, ""), (True, ""), (False, "all"),
    ]  # fmt: skip
    asked = line.calls
    assert (await every.hit(of("z", "z"))).limiter == "all" and line.calls == asked
    assert await used(spread_hub, of("e", "free")) == [0, 1, 4]


def test_in_threads(sync_hub: riskscale.sync.Hub) -> None:
    every = three(spread(sync_hub), riskscale.sync)
    decision = every.hit(of("a"), 2)
    assert decision and len(decision.parts) == 3 and every.hit(of("a")).limiter == "tenant"
    assert every.hit(of("b"), 2).limiter == "plan" and every.peek(of("b"), 1).remaining == 1
    assert [every.refund(of("a"), decision, 2) for _ in range(2)] == [2, 0]


def test_in_threads_a_lost_refund_is_no_failure_of_the_hit(
    sync_hub: riskscale.sync.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = three(spread(sync_hub), riskscale.sync)
    sync_hub.preload()
    assert every.hit(of("a"), 2)
    real, calls = sync_hub.client.evalsha, itertools.count(1)

    def evalsha(*words: Any) -> Any:
        if next(calls) == 3:
            raise redis.ConnectionError("cut")
        return real(*words)

    monkeypatch.setattr(sync_hub.client, "evalsha", evalsha)
    assert every.hit(of("b"), 2).limiter == "plan"
    assert next(calls) == 4
    assert every.peek(of("b", "free"), 1).limiter == "tenant", "its two units count until they leave the window"
