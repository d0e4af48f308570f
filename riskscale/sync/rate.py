"""The rate limiter for threads; see :mod:`riskscale.rate.limiter`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, overload

from riskscale.errors import StateError
from riskscale.rate._facade import BaseRateLimiter
from riskscale.rate.calls import Decided, Decision, Item, check_cost, check_items, only
from riskscale.rate.limit import Limit
from riskscale.sync.hub import hub_of


class RateLimiter(BaseRateLimiter):
    """Limits that replicas share, for a blocking client; see :class:`riskscale.RateLimiter`."""

    def __init__(
        self, client: Any, limits: Limit | Iterable[Limit], *, name: str = "default", tag: str | None = None
    ) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, limits, name, tag)

    def hit(self, key: str, cost: int = 1) -> Decision:
        """See :meth:`riskscale.RateLimiter.hit`."""
        return only(self._hub.run(self._plan.hits([(key, check_cost(cost))], True)))

    def peek(self, key: str, cost: int = 1) -> Decision:
        """What :meth:`hit` would say now. Changes nothing."""
        return only(self._hub.run(self._plan.hits([(key, check_cost(cost))], False)))

    def refund(self, key: str, decision: Decision, cost: int = 1) -> int:
        """See :meth:`riskscale.RateLimiter.refund`."""
        return self._hub.run(self._plan.refund(key, decision, cost))

    def reset(self, key: str) -> None:
        """Forget what ``key`` used."""
        self._hub.run(self._plan.reset(key))

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
            decided = self._hub.run(self._plan.hits(batch, True))
            results += decided
        return results if return_exceptions else self._all(results)
