"""The rate limiter for threads; see :mod:`riskscale.rate.limiter`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any, Literal, overload

from riskscale._core.durations import Duration, seconds
from riskscale.errors import StateError
from riskscale.rate._facade import BaseRateLimiter
from riskscale.rate.calls import Decided, Decision, Item, Pairs, check_cost, check_items, check_refund, only
from riskscale.rate.fallback import GONE, OnError, merged
from riskscale.rate.limit import Limit
from riskscale.sync.hub import hub_of


class RateLimiter(BaseRateLimiter):
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
        self._hub = hub_of(client)
        super().__init__(self._hub, limits, name, tag, on_error, replicas, deny_cache)

    def hit(self, key: str, cost: int = 1) -> Decision:
        """See :meth:`riskscale.RateLimiter.hit`."""
        pairs = ((key, check_cost(cost)),)
        return only(self._hub.run(self._plan.hits(pairs, True)) if self._is_plain else self._decide(pairs, True))

    def wait(self, key: str, cost: int = 1, timeout: Duration | None = None) -> Decision:
        """See :meth:`riskscale.RateLimiter.wait`."""
        give_up = math.inf if timeout is None else self._monotonic() + seconds(timeout, "timeout")
        while True:
            decision = self.hit(key, cost)
            pause = self._pause(decision, give_up)
            if pause is None or math.isinf(pause):
                return decision
            time.sleep(pause)

    def peek(self, key: str, cost: int = 1) -> Decision:
        """What :meth:`hit` would say now. Changes nothing."""
        return only(self._decide(((key, check_cost(cost)),), False))

    def refund(self, key: str, decision: Decision, cost: int = 1) -> int:
        """See :meth:`riskscale.RateLimiter.refund`."""
        check_refund(key, decision, cost)
        if decision.degraded:
            return self._fallback.refund(decision, cost) if self._fallback else 0
        try:
            return self._hub.run(self._refund(key, decision, cost))
        finally:
            self._denials.forget(self._plan.keys(key))

    def reset(self, key: str) -> None:
        """Forget what ``key`` used."""
        try:
            self._hub.run(self._plan.reset(key))
        finally:
            self._denials.forget(self._plan.keys(key))

    @overload
    def hit_many(self, items: Iterable[Item], *, return_exceptions: Literal[False] = False) -> list[Decision]: ...
    @overload
    def hit_many(self, items: Iterable[Item], *, return_exceptions: Literal[True]) -> list[Decision | StateError]: ...
    def hit_many(
        self, items: Iterable[Item], *, return_exceptions: bool = False
    ) -> list[Decision] | list[Decision | StateError]:
        """See :meth:`riskscale.RateLimiter.hit_many`."""
        results: Decided = []
        for batch in self._batches(check_items(items)):
            results += self._decide(batch, True)
        return results if return_exceptions else self._all(results)

    def _decide(self, pairs: Pairs, charge: bool) -> Decided:
        began = self._monotonic()
        denied = self._denied(pairs)
        asked = [pair for pair, denial in zip(pairs, denied, strict=True) if denial is None]
        decided: Decided = self._with_fallback(asked, charge) if asked else []
        self._note(decided, began)
        everything = merged(denied, decided)
        self._count(everything, charge, began)
        return everything

    def _with_fallback(self, pairs: Pairs, charge: bool) -> Decided:
        if self._fallback is None:
            return self._ask(pairs, charge)
        settled, asked = self._fallback.begin(pairs, charge)
        try:
            decided = self._ask(asked, charge) if asked else None
        except GONE as error:
            return self._fallback.failed(error, settled, asked, charge)
        return merged(settled, []) if decided is None else self._fallback.answered(settled, decided, charge)

    def _ask(self, pairs: Pairs, charge: bool) -> Decided:
        return self._hub.run(self._plan.hits(pairs, charge))
