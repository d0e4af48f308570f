"""The rate limiter that decides without asking, for threads; see :mod:`riskscale.rate.leased`."""

from __future__ import annotations

from typing import Any

from riskscale._core.durations import Duration
from riskscale.rate._leased import BaseLeased
from riskscale.rate.booking import Booking
from riskscale.rate.calls import Decided, Decision, Pairs, Plan, Subject, check_cost, only
from riskscale.rate.fallback import OnError, merged
from riskscale.rate.lending import check_lease
from riskscale.rate.limit import Limit
from riskscale.sync.borrower import Borrower
from riskscale.sync.rate import RateLimiter


class LeasedRateLimiter(BaseLeased, RateLimiter):
    """A limit that replicas share, most hits of which are decided here; see :class:`riskscale.LeasedRateLimiter`."""

    def __init__(
        self,
        client: Any,
        limit: Limit,
        *,
        name: str = "default",
        max_lease: int | None = None,
        lease_life: Duration | None = None,
        tag: str | None = None,
        on_error: OnError = "raise",
        replicas: int | None = None,
    ) -> None:
        most, life_us = check_lease(limit, max_lease, lease_life)
        super().__init__(client, limit, name=name, tag=tag, on_error=on_error, replicas=replicas)
        loans = self._open(most, life_us)
        self._borrower: Borrower = Borrower(self._hub, loans, self._book, self._counts_beside)
        self._mutex = self._borrower.mutex

    def hit(self, key: str, cost: int = 1) -> Decision:
        """See :meth:`riskscale.LeasedRateLimiter.hit`."""
        allowance = self._allowances.get(key)
        if allowance is not None and self._meter is None and type(cost) is int and cost > 0:
            with self._mutex:
                decision = allowance.spend(cost, self._monotonic())
                if decision is not None:
                    if allowance.is_due:
                        self._borrower.ask(allowance)
                    return decision
        return only(self._decide(self._plan, ((key, check_cost(cost)),), True))

    def refund(self, key: str, decision: Decision, cost: int = 1) -> int:
        """See :meth:`riskscale.LeasedRateLimiter.refund`."""
        try:
            return super().refund(key, decision, cost)
        finally:
            with self._mutex:
                self._book.returned(key)

    def reset(self, key: str) -> None:
        """Forget what ``key`` used. What other replicas have borrowed of it may still pass, or be given back."""
        try:
            super().reset(key)
        finally:
            with self._mutex:
                self._book.forget(key)

    def close(self) -> None:
        """Give back what is left; then hits raise HubClosed. Closing the hub does the same."""
        if not self._hub.closed:
            self._borrower.give_back()

    def _with_fallback(self, plan: Plan, pairs: Pairs, charge: bool, booking: Booking | None = None) -> Decided:
        known = [self._known(key, cost, charge) for key, cost in pairs]
        asked = [pair for pair, decision in zip(pairs, known, strict=True) if decision is None]
        return merged(known, super()._with_fallback(plan, asked, charge, booking) if asked else [])

    def _send(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        if not charge:
            return super()._send(plan, pairs, charge)
        most = self.limits[0].capacity  # nobody lends more; the server knows what is left
        too_much, rest = [pair for pair in pairs if pair[1] > most], [pair for pair in pairs if pair[1] <= most]
        never, decided = (
            iter(super()._send(plan, too_much, False) if too_much else []),
            iter(self._borrower.decide(rest)),
        )
        return [next(never) if cost > most else next(decided) for _, cost in pairs]

    def _give_back(self, plan: Plan, subject: Subject, decision: Decision, cost: int) -> int:
        return self._hub.run(self._book.refund(subject, decision, cost))
