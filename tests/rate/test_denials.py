"""The deny cache: it never refuses what the server would admit, unless another process gave something back."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import riskscale.sync
from riskscale import Hub, Limit, RateLimiter
from riskscale.rate.denials import MOST, Denials
from riskscale.rate.limit import ALGORITHMS
from riskscale.testing import VirtualClock, fake_client, new_fake_server

THREE = Limit(3, per=3600)


class Counted:
    """How often the client was asked."""

    def __init__(self, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.real = 0, hub.client.evalsha
        monkeypatch.setattr(hub.client, "evalsha", self)

    def __call__(self, *words: Any) -> Any:
        self.calls += 1
        return self.real(*words)


async def test_what_was_refused_is_refused_here(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.preload()
    limiter = RateLimiter(hub, THREE, deny_cache=True)
    line = Counted(hub, monkeypatch)
    assert await limiter.hit("a") and not await limiter.hit("a", 3)
    asked = line.calls
    for cost in (3, 4, 3):
        refused = await limiter.hit("a", cost)
        assert not refused and (refused.cost, refused.key) == (cost, "a") and 3500 < refused.retry_after <= 3600
    assert line.calls == asked
    assert await limiter.hit("a", 2), "less may pass"
    many = await limiter.hit_many(["a", "b", ("a", 3)])
    assert [decision.allowed for decision in many] == [False, True, False]
    assert [decision.key for decision in many] == ["a", "b", "a"]


async def test_never_is_remembered_too(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.preload()
    limiter = RateLimiter(hub, THREE, deny_cache=True)
    line = Counted(hub, monkeypatch)
    assert [(await limiter.hit("a", 4)).retry_after for _ in range(3)] == [math.inf] * 3
    assert line.calls == 1 and await limiter.hit("a")


async def test_a_refund_a_reset_and_a_changed_limit_end_it_for_all_limiters_of_the_hub(hub: Hub) -> None:
    limiter, other = RateLimiter(hub, THREE, deny_cache=True), RateLimiter(hub, [THREE, Limit(9, per=60)])
    first = await limiter.hit("a", 3)
    assert not await limiter.hit("a")
    await limiter.refund("a", first)
    assert await limiter.hit("a") and not await limiter.hit("a")
    await other.reset("a")
    assert await limiter.hit("a", 3) and not await limiter.hit("a")
    assert await RateLimiter(hub, Limit(4, per=3600), deny_cache=True).hit("a"), "a changed limit"
    assert not await limiter.hit("a")


async def test_any_of_several_limits_that_is_reset_ends_it(hub: Hub) -> None:
    both = RateLimiter(hub, [Limit(9, per=3600), Limit(2, per=60)], deny_cache=True)
    assert await both.hit("a", 2) and not await both.hit("a")
    await RateLimiter(hub, Limit(2, per=60)).reset("a")
    assert await both.hit("a")


async def test_it_is_off_unless_asked_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.preload()
    line = Counted(hub, monkeypatch)
    limiter = RateLimiter(hub, THREE)
    for _ in range(5):
        await limiter.hit("a", 3)
    assert line.calls == 5


def test_in_threads_and_bounded(sync_hub: riskscale.sync.Hub) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, THREE, deny_cache=True)
    assert limiter.hit("a", 3) and not limiter.hit("a") and not limiter.hit("a")
    limiter.reset("a")
    assert limiter.hit("a")
    denials, refused = sync_hub.part(Denials), limiter.hit("a", 4)
    for number in range(MOST + 10):
        denials.note(limiter._plan, type(refused)(**{**_fields(refused), "key": f"k{number}"}), denials._monotonic())
    assert len(denials._known) == MOST


def _fields(decision: Any) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in type(decision).__slots__}


class CacheMachine(RuleBasedStateMachine):
    """A limiter with the cache beside the truth, which is asked by peeking; nobody else is there."""

    @initialize(algorithm=st.sampled_from(ALGORITHMS))
    def begin(self, algorithm: Any) -> None:
        self.clock = VirtualClock()
        self.hub = riskscale.sync.Hub(fake_client(new_fake_server()), clock=self.clock)
        self.hub.monotonic = lambda: self.clock() / 1e6
        limit = Limit(5, per=10, algorithm=algorithm)
        self.limiter = riskscale.sync.RateLimiter(self.hub, limit, deny_cache=True)
        self.plain = riskscale.sync.RateLimiter(self.hub, limit)
        self.admitted: list[Any] = []

    @rule(by=st.floats(0.001, 11))
    def time_passes(self, by: float) -> None:
        self.clock.advance(by)

    @rule(cost=st.integers(1, 6))
    def hit(self, cost: int) -> None:
        truth = self.plain.peek("a", cost)
        decision = self.limiter.hit("a", cost)
        assert decision.allowed == truth.allowed
        if decision:
            self.admitted.append(decision)

    @rule()
    def refund(self) -> None:
        if self.admitted:
            decision = self.admitted.pop()
            self.limiter.refund("a", decision, decision.cost)

    @rule()
    def reset(self) -> None:
        self.plain.reset("a")

    @invariant()
    def it_tells_the_truth(self) -> None:
        if hasattr(self, "limiter"):
            for cost in (1, 3, 5):
                denied = self.hub.part(Denials).look(self.limiter._plan, "a", cost)
                assert denied is None or not self.plain.peek("a", cost).allowed

    def teardown(self) -> None:
        if hasattr(self, "hub"):
            self.hub.client.close()


def test_it_refuses_nothing_that_the_server_would_admit() -> None:
    run_state_machine_as_test(CacheMachine)


@pytest.mark.embedded
async def test_several_at_once(hub: Hub) -> None:
    limiter = RateLimiter(hub, THREE, deny_cache=True)
    assert sum(map(bool, await asyncio.gather(*(limiter.hit("a") for _ in range(20))))) == 3
    assert not await limiter.hit("a")


async def test_a_refusal_that_arrives_after_a_refund_is_not_kept(hub: Hub) -> None:
    limiter = RateLimiter(hub, THREE, deny_cache=True)
    admitted, denials = await limiter.hit("a", 3), hub.part(Denials)
    asked = denials._monotonic()
    refused = await limiter.peek("a")
    await limiter.refund("a", admitted, 3)
    denials.note(limiter._plan, refused, asked)
    assert await limiter.hit("a")
