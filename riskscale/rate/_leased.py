"""What the asyncio limiter that borrows shares with the blocking one: everything that does not wait."""

from __future__ import annotations

from typing import Any

from riskscale._core.durations import MICRO
from riskscale.rate._facade import BaseLimiter
from riskscale.rate.calls import Decision, Plan
from riskscale.rate.lending import LoanPlan
from riskscale.rate.loans import Book


class BaseLeased(BaseLimiter):
    """See :class:`riskscale.LeasedRateLimiter`."""

    _plan: Plan
    _borrower: Any

    def _open(self, most: int, life_us: int) -> LoanPlan:
        """Open the book; how its loans are asked for."""
        self._plan.is_reservable = False  # what comes back of a loan knows nothing of reservations
        self._book = Book(self._plan, most, life_us / MICRO)
        self._allowances = self._book.allowances
        return LoanPlan(self._plan, life_us)

    def _counts_beside(self) -> bool:
        return self._fallback is not None and self._fallback.counts_beside

    def _known(self, key: str, cost: int, charge: bool) -> Decision | None:
        """What is decided here."""
        if charge:
            known: Decision | None = self._borrower.known(key, cost)
            return known
        allowance = self._allowances.get(key)
        return None if allowance is None else allowance.look(cost, self._monotonic())
