"""The rate limiter for threads; see :mod:`riskscale.rate.limiter`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal, overload

from riskscale._core.durations import Duration, seconds
from riskscale._core.keys import check_name
from riskscale.errors import StateError
from riskscale.rate._facade import AT_ONCE, LOOK, BaseRateLimiter
from riskscale.rate.calls import Decided, Decision, Item, Pairs, Plan, check_cost, check_items, check_refund, only
from riskscale.rate.fallback import GONE, OnError, merged
from riskscale.rate.limit import Limit
from riskscale.sync.hub import hub_of
from riskscale.typing import LimitSource


class RateLimiter(BaseRateLimiter):
    """Limits that replicas share, for a blocking client; see :class:`riskscale.RateLimiter`."""

    def __init__(
        self,
        client: Any,
        limits: Limit | Iterable[Limit] | LimitSource,
        *,
        name: str = "default",
        tag: str | None = None,
        on_error: OnError = "raise",
        replicas: int | None = None,
        deny_cache: bool = False,
    ) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, limits, name, tag, on_error, replicas, deny_cache)

    def hit(self, key: str, cost: int = 1) -> Decision:
        """See :meth:`riskscale.RateLimiter.hit`."""
        pairs = ((key, check_cost(cost)),)
        plan = self._plan or self._planned((key,))[0]
        return only(self._hub.run(plan.hits(pairs, True)) if self._is_plain else self._decide(plan, pairs, True))

    def wait(self, key: str, cost: int = 1, timeout: Duration | None = None) -> Decision:
        """See :meth:`riskscale.RateLimiter.wait`."""
        give_up = math.inf if timeout is None else self._monotonic() + seconds(timeout, "timeout")
        while True:
            decision = self.hit(key, cost)
            pause = self._pause(decision, give_up)
            if pause is None or math.isinf(pause):
                return decision
            self._sleep(pause, decision)

    def peek(self, key: str, cost: int = 1) -> Decision:
        """What :meth:`hit` would say now. Changes nothing."""
        pairs = ((key, check_cost(cost)),)
        return only(self._decide(self._planned((key,))[0], pairs, False))

    def refund(self, key: str, decision: Decision, cost: int = 1) -> int:
        """See :meth:`riskscale.RateLimiter.refund`."""
        check_refund(key, decision, cost)
        plan = self._to_refund(decision, self._planned((key,))[0])
        if decision.degraded:
            return self._fallback.refund(plan.limits, decision, cost) if self._fallback else 0
        try:
            return self._hub.run(plan.refund(key, decision, cost))
        finally:
            self._denials.forget(plan.keys(key))

    def reset(self, key: str) -> None:
        """Forget what ``key`` used."""
        (plan,) = self._planned((key,))
        try:
            self._hub.run(plan.reset(key))
        finally:
            self._denials.forget(plan.keys(key))

    @overload
    def hit_many(self, items: Iterable[Item], *, return_exceptions: Literal[False] = False) -> list[Decision]: ...
    @overload
    def hit_many(self, items: Iterable[Item], *, return_exceptions: Literal[True]) -> list[Decision | StateError]: ...
    def hit_many(
        self, items: Iterable[Item], *, return_exceptions: bool = False
    ) -> list[Decision] | list[Decision | StateError]:
        """See :meth:`riskscale.RateLimiter.hit_many`."""
        pairs = check_items(items)
        plans = self._planned([key for key, _ in pairs])
        found: dict[int, Decision | StateError] = {}
        for batch in self._batches(pairs, plans):
            found.update(zip(batch.places, self._decide(batch.plan, batch.pairs, True), strict=True))
        results = [found[place] for place in range(len(pairs))]
        return results if return_exceptions else self._all(results)

    def _planned(self, keys: Sequence[str]) -> Sequence[Plan]:
        """What is known of the limits of each key, brought up to date."""
        if self._source is None:
            return [self._plan] * len(keys)  # type: ignore[list-item]  # one or the other is there
        plans: list[Plan] = []
        for first in range(0, len(keys), AT_ONCE):
            some = [check_name(key, "key") for key in keys[first : first + AT_ONCE]]
            self._source.refresh(some)
            plans += map(self._plans.of, self._source.known(some))
        return plans

    def _sleep(self, pause: float, decision: Decision) -> None:
        """Until it may pass, or its key has other limits."""
        if self._source is None:
            time.sleep(pause)
            return
        until = self._monotonic() + pause
        while (left := until - self._monotonic()) > 0:
            time.sleep(min(left, LOOK))
            if self._planned((decision.key,))[0].limits != decision.limits:
                return

    def _decide(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        began = self._monotonic()
        denied = self._denied(plan, pairs)
        asked = [pair for pair, denial in zip(pairs, denied, strict=True) if denial is None]
        decided: Decided = self._with_fallback(plan, asked, charge) if asked else []
        self._note(plan, decided, began)
        everything = merged(denied, decided)
        self._count(everything, charge, began)
        return everything

    def _with_fallback(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        if self._fallback is None:
            return self._hub.run(plan.hits(pairs, charge))
        settled, asked = self._fallback.begin(plan.limits, pairs, charge)
        try:
            decided = self._hub.run(plan.hits(asked, charge)) if asked else None
        except GONE as error:
            return self._fallback.failed(error, plan.limits, settled, asked, charge)
        return merged(settled, []) if decided is None else self._fallback.answered(settled, decided, charge)
