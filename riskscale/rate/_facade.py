"""What the asyncio rate limiter shares with the blocking one: everything that does not wait."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.keys import check_name
from riskscale.errors import StateError
from riskscale.rate.calls import Decided, Decision, Pairs, Plan, Subject
from riskscale.rate.denials import Denials
from riskscale.rate.fallback import Fallback, OnError
from riskscale.rate.limit import Limit
from riskscale.rate.plans import Plans

LOOK = 0.2
"""Seconds after which whoever waits looks whether the limits of its key have changed."""


@dataclass(slots=True)
class Batch:
    """Requests that one call decides, and where their decisions belong."""

    plan: Plan
    pairs: list[tuple[Subject, int]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


class BaseLimiter:
    """See :class:`riskscale.rate.limiter.Limiter`."""

    def __init__(
        self,
        hub: BaseHub,
        plan: Plan | Plans,
        by_slot: bool,
        on_error: OnError,
        replicas: int | None,
        deny_cache: bool,
    ) -> None:
        self._plans = plan if isinstance(plan, Plans) else None
        """Where each key has limits of its own."""
        self._plan = plan if isinstance(plan, Plan) else None
        """Where all have the same."""
        self.name = plan.name
        """The name it was made with."""
        self._by_slot = hub.is_cluster and by_slot
        self._denials = hub.part(Denials)
        self._has_cache = deny_cache
        self._meter, self._monotonic = hub.meter, hub.monotonic
        fallback = Fallback(on_error, replicas, hub.monotonic, self._recovered)
        self._fallback = None if on_error == "raise" else fallback
        self._is_plain = self._fallback is None and self._meter is None and not deny_cache
        """Whether a hit is a call and nothing else."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits it was made with; none where each key has its own, which its decisions name."""
        return () if self._plan is None else self._plan.limits

    @property
    def policies(self) -> list[tuple[str, Limit]]:
        """Its limits, each with the name of the limiter that it belongs to."""
        return [] if self._plan is None else self._plan.policies

    def policies_of(self, decision: Decision) -> list[tuple[str, Limit]]:
        """Those of them that a decision had to pass."""
        return [(self.name, limit) for limit in decision.limits] if self._plan is None else self._plan.policies

    def policy_of(self, decision: Decision) -> tuple[str, Limit]:
        """The one of its policies that a decision names."""
        return (self.name, decision.limit) if self._plan is None else self._plan.policy_of(decision)

    def __repr__(self) -> str:
        limits = "; ".join(map(str, self.limits)) if self._plans is None else self._plans.source
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r} {limits}>"

    def _subject(self, key: Any) -> Subject:
        return check_name(key, "key") if self._plan is None else self._plan.subject(key)

    def _to_refund(self, decision: Decision, plan: Plan) -> Plan:
        return plan if self._plans is None else self._plans.to_refund(decision, plan)

    def _batches(self, pairs: Pairs, plans: Sequence[Plan]) -> list[Batch]:
        """Runs that one call can take: of the same limits; on a cluster a call's keys share a slot."""
        batches: list[Batch] = []
        filling: dict[tuple[Plan, Subject], Batch] = {}
        for place, (pair, plan) in enumerate(zip(pairs, plans, strict=True)):
            of = (plan, pair[0] if self._by_slot else None)
            batch = filling.get(of)
            if batch is None or len(batch.pairs) == plan.most:
                batch = filling[of] = Batch(plan)
                batches.append(batch)
            batch.pairs.append(pair)
            batch.places.append(place)
        return batches

    def _count(self, decided: Decided, charge: bool, began: float) -> None:
        """``rate_decisions`` by outcome, and ``rate_decision_seconds``; peeks are no decisions."""
        if self._meter is None or not charge:
            return
        for each in decided:
            degraded = "yes" if isinstance(each, Decision) and each.degraded else "no"
            self._meter.increment("rate_decisions", limiter=self.name, outcome=_outcome(each), degraded=degraded)
        self._meter.observe("rate_decision_seconds", self._monotonic() - began, limiter=self.name)

    def _waited(self, began: float) -> None:
        if self._meter is not None:
            self._meter.observe("rate_wait_seconds", self._monotonic() - began, limiter=self.name)

    def _recovered(self, seconds: float) -> None:
        if self._meter is not None:
            self._meter.observe("rate_degraded_seconds", seconds, limiter=self.name)

    def _denied(self, plan: Plan, pairs: Pairs) -> list[Decision | None]:
        """What the deny cache says of them; nothing where there is none."""
        if not self._has_cache:
            return [None] * len(pairs)
        return [self._denials.look(plan, subject, cost) for subject, cost in pairs]

    def _note(self, plan: Plan, decided: Decided, sent: float) -> None:
        """Remember refusals of the server."""
        for each in decided if self._has_cache else ():
            if isinstance(each, Decision) and not each.allowed and not each.degraded:
                self._denials.note(plan, each, sent)

    def _pause(self, decision: Decision, give_up: float) -> float | None:
        """Seconds until it may pass; None where it passed, never will, or not in time."""
        if decision.allowed or self._monotonic() + decision.retry_after > give_up:
            return None
        return decision.retry_after

    def _refund_here(self, plan: Plan, decision: Decision, cost: int) -> int:
        """Of what was decided without the server."""
        return self._fallback.refund(plan, decision, cost) if self._fallback else 0


def _outcome(decided: Decision | StateError) -> str:
    if isinstance(decided, StateError):
        return "poisoned"
    if decided.allowed:
        return "admitted"
    return "never" if math.isinf(decided.retry_after) else "refused"
