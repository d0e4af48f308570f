"""The rate limiter for threads; see :mod:`riskscale.rate.limiter`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar, cast, overload

from riskscale._core.durations import Duration, seconds
from riskscale._core.keys import check_name
from riskscale.errors import StateError
from riskscale.rate._facade import BaseLimiter
from riskscale.rate.calls import D, Decided, Decision, Pairs, Plan, Subject, check_cost, check_items, check_refund, only
from riskscale.rate.fallback import GONE, OnError, merged
from riskscale.rate.limit import Limit
from riskscale.rate.multi import MultiDecision, MultiPlan, decide, grouped, refund
from riskscale.sync.hub import Hub, hub_of

K = TypeVar("K")


class Limiter(BaseLimiter, Generic[K, D]):
    """What limits requests of whatever names whose they are; see :class:`riskscale.rate.limiter.Limiter`."""

    def __init__(
        self, hub: Hub, plan: Plan, by_slot: bool, on_error: OnError, replicas: int | None, deny_cache: bool
    ) -> None:
        super().__init__(hub, plan, by_slot, on_error, replicas, deny_cache)
        self._hub = hub

    def hit(self, key: K, cost: int = 1) -> D:
        """See :meth:`riskscale.RateLimiter.hit`."""
        pairs = ((self._plan.subject(key), check_cost(cost)),)
        if self._is_plain:
            return only(cast("list[D | StateError]", self._send(pairs, True)))
        return only(self._decide(pairs, True))

    def wait(self, key: K, cost: int = 1, timeout: Duration | None = None) -> D:
        """See :meth:`riskscale.RateLimiter.wait`."""
        give_up = math.inf if timeout is None else self._monotonic() + seconds(timeout, "timeout")
        while True:
            decision = self.hit(key, cost)
            pause = self._pause(decision, give_up)
            if pause is None or math.isinf(pause):
                return decision
            time.sleep(pause)

    def peek(self, key: K, cost: int = 1) -> D:
        """What :meth:`hit` would say now. Changes nothing."""
        return only(self._decide(((self._plan.subject(key), check_cost(cost)),), False))

    def refund(self, key: K, decision: Decision, cost: int = 1) -> int:
        """See :meth:`riskscale.RateLimiter.refund`."""
        subject = self._plan.subject(key)
        check_refund(subject, decision, cost)
        if decision.degraded:
            return self._fallback.refund(decision, cost) if self._fallback else 0
        try:
            return self._give_back(subject, decision, cost)
        finally:
            self._denials.forget(self._plan.keys(subject))

    @overload
    def hit_many(self, items: Iterable[K | tuple[K, int]], *, return_exceptions: Literal[False] = False) -> list[D]: ...
    @overload
    def hit_many(
        self, items: Iterable[K | tuple[K, int]], *, return_exceptions: Literal[True]
    ) -> list[D | StateError]: ...
    def hit_many(
        self, items: Iterable[K | tuple[K, int]], *, return_exceptions: bool = False
    ) -> list[D] | list[D | StateError]:
        """See :meth:`riskscale.RateLimiter.hit_many`."""
        results: list[D | StateError] = []
        for batch in self._batches(check_items(items, self._plan)):
            results += self._decide(batch, True)
        return results if return_exceptions else [only([each]) for each in results]

    def _decide(self, pairs: Pairs, charge: bool) -> list[D | StateError]:
        began = self._monotonic()
        denied = self._denied(pairs)
        asked = [pair for pair, denial in zip(pairs, denied, strict=True) if denial is None]
        decided: Decided = self._with_fallback(asked, charge) if asked else []
        self._note(decided, began)
        everything = merged(denied, decided)
        self._count(everything, charge, began)
        return cast("list[D | StateError]", everything)

    def _with_fallback(self, pairs: Pairs, charge: bool) -> Decided:
        if self._fallback is None:
            return self._send(pairs, charge)
        settled, asked = self._fallback.begin(pairs, charge)
        try:
            decided = self._send(asked, charge) if asked else None
        except GONE as error:
            return self._fallback.failed(error, settled, asked, charge)
        return merged(settled, []) if decided is None else self._fallback.answered(settled, decided, charge)

    def _send(self, pairs: Pairs, charge: bool) -> Decided:
        return self._hub.run(self._plan.hits(pairs, charge))

    def _give_back(self, subject: Subject, decision: Decision, cost: int) -> int:
        return self._hub.run(self._plan.refund(subject, decision, cost))


class RateLimiter(Limiter[str, Decision]):
    """Limits that replicas share, for a blocking client; see :class:`riskscale.RateLimiter`."""

    def __init__(
        self,
        client: Any,
        limits: Limit | Iterable[Limit],
        *,
        name: str = "default",
        tag: str | None = None,
        on_error: OnError = "raise",
        replicas: int | None = None,
        deny_cache: bool = False,
    ) -> None:
        hub = hub_of(client)
        plan = Plan(hub.root, limits, check_name(name, "name"), tag)
        super().__init__(hub, plan, tag is None, on_error, replicas, deny_cache)

    def reset(self, key: str) -> None:
        """Forget what ``key`` used."""
        try:
            self._hub.run(self._plan.reset(key))
        finally:
            self._denials.forget(self._plan.keys(key))


class MultiRateLimiter(Limiter[Mapping[str, str], MultiDecision]):
    """Several rate limiters as one, for a blocking client; see :class:`riskscale.MultiRateLimiter`."""

    _plan: MultiPlan

    def __init__(
        self,
        limiters: Iterable[RateLimiter],
        *,
        on_error: OnError = "raise",
        replicas: int | None = None,
        deny_cache: bool = False,
    ) -> None:
        first, plan, by_slot = grouped(limiters, RateLimiter)
        super().__init__(first._hub, plan, by_slot, on_error, replicas, deny_cache)

    def _send(self, pairs: Pairs, charge: bool) -> Decided:
        keys, _ = pairs[0]
        if not self._by_slot or len(self._plan.slots(keys)) == 1:
            return super()._send(pairs, charge)
        return [self._hub.drive(decide(self._plan, keys, cost, charge)) for _, cost in pairs]

    def _give_back(self, subject: Subject, decision: Decision, cost: int) -> int:
        if isinstance(decision, MultiDecision) and decision.parts:
            return self._hub.drive(refund(self._plan, subject, decision.parts, cost))
        return super()._give_back(subject, decision, cost)
