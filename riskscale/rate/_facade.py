"""What the asyncio rate limiter shares with the blocking one: everything that does not wait."""

from __future__ import annotations

import math
from collections.abc import Sequence

from riskscale._core.base import BaseHub
from riskscale.errors import StateError
from riskscale.rate.calls import Decided, Decision, Pairs, Plan, Subject
from riskscale.rate.denials import Denials
from riskscale.rate.fallback import Fallback, OnError
from riskscale.rate.limit import Limit


class BaseLimiter:
    """See :class:`riskscale.rate.limiter.Limiter`."""

    def __init__(
        self,
        hub: BaseHub,
        plan: Plan,
        by_slot: bool,
        on_error: OnError,
        replicas: int | None,
        deny_cache: bool,
    ) -> None:
        self._plan, self._by_slot = plan, hub.is_cluster and by_slot
        self._denials = hub.part(Denials)
        self._has_cache = deny_cache
        self._meter, self._monotonic = hub.meter, hub.monotonic
        fallback = Fallback(plan, on_error, replicas, hub.monotonic, self._recovered)
        self._fallback = None if on_error == "raise" else fallback
        self._is_plain = self._fallback is None and self._meter is None and not deny_cache
        """Whether a hit is a call and nothing else."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits it was made with."""
        return self._plan.limits

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._plan.name

    @property
    def policies(self) -> list[tuple[str, Limit]]:
        """Its limits, each with the name of the limiter that it belongs to."""
        return self._plan.policies

    def policy_of(self, decision: Decision) -> tuple[str, Limit]:
        """The one of its policies that a decision names."""
        return self._plan.policy_of(decision)

    def __repr__(self) -> str:
        limits = "; ".join(map(str, self.limits))
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r} {limits}>"

    def _batches(self, pairs: Pairs) -> Sequence[Pairs]:
        """Runs that one call can take; on a cluster a call's keys share a slot."""
        runs: list[list[tuple[Subject, int]]] = []
        for pair in pairs:
            full = not runs or len(runs[-1]) == self._plan.most
            if full or (self._by_slot and runs[-1][-1][0] != pair[0]):
                runs.append([])
            runs[-1].append(pair)
        return runs

    def _count(self, decided: Decided, charge: bool, began: float) -> None:
        """``rate_decisions`` by outcome, and ``rate_decision_seconds``; peeks are no decisions."""
        if self._meter is None or not charge:
            return
        for each in decided:
            degraded = "yes" if isinstance(each, Decision) and each.degraded else "no"
            self._meter.increment("rate_decisions", limiter=self.name, outcome=_outcome(each), degraded=degraded)
        self._meter.observe("rate_decision_seconds", self._monotonic() - began, limiter=self.name)

    def _recovered(self, seconds: float) -> None:
        if self._meter is not None:
            self._meter.observe("rate_degraded_seconds", seconds, limiter=self.name)

    def _denied(self, pairs: Pairs) -> list[Decision | None]:
        """What the deny cache says of them; nothing where there is none."""
        if not self._has_cache:
            return [None] * len(pairs)
        return [self._denials.look(self._plan, subject, cost) for subject, cost in pairs]

    def _note(self, decided: Decided, sent: float) -> None:
        """Remember refusals of the server."""
        for each in decided if self._has_cache else ():
            if isinstance(each, Decision) and not each.allowed and not each.degraded:
                self._denials.note(self._plan, each, sent)

    def _pause(self, decision: Decision, give_up: float) -> float | None:
        """Seconds until it may pass; None where it passed, never will, or not in time."""
        if decision.allowed or self._monotonic() + decision.retry_after > give_up:
            return None
        return decision.retry_after


def _outcome(decided: Decision | StateError) -> str:
    if isinstance(decided, StateError):
        return "poisoned"
    if decided.allowed:
        return "admitted"
    return "never" if math.isinf(decided.retry_after) else "refused"
