"""What the asyncio rate limiter shares with the blocking one: everything that does not wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from riskscale._core.base import BaseHub
from riskscale._core.keys import check_name
from riskscale.rate.calls import Decided, Decision, Pairs, Plan, only
from riskscale.rate.fallback import Fallback, OnError
from riskscale.rate.limit import Limit


class BaseRateLimiter:
    """See :class:`riskscale.RateLimiter`."""

    def __init__(
        self,
        hub: BaseHub,
        limits: Limit | Iterable[Limit],
        name: str,
        tag: str | None,
        on_error: OnError,
        replicas: int | None,
    ) -> None:
        self._plan = Plan(hub.root, limits, check_name(name, "name"), tag)
        self._by_slot = hub.is_cluster and tag is None
        fallback = Fallback(self._plan.limits, on_error, replicas, hub.monotonic)
        self._fallback = None if on_error == "raise" else fallback

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits it was made with."""
        return self._plan.limits

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._plan.name

    def __repr__(self) -> str:
        limits = "; ".join(map(str, self.limits))
        return f"<{type(self).__module__}.RateLimiter {self.name!r} {limits}>"

    def _batches(self, pairs: Pairs) -> Sequence[Pairs]:
        """Runs that one call can take; on a cluster a call's keys share a slot."""
        runs: list[list[tuple[str, int]]] = []
        for pair in pairs:
            full = not runs or len(runs[-1]) == self._plan.most
            if full or (self._by_slot and runs[-1][-1][0] != pair[0]):
                runs.append([])
            runs[-1].append(pair)
        return runs

    @staticmethod
    def _all(results: Decided) -> list[Decision]:
        return [only([result]) for result in results]
