"""The plans of one limiter whose keys need not have the same limits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from riskscale.rate.calls import Decision, Plan, Tokens
from riskscale.rate.limit import Limit

MOST = 1024
"""Sets of limits whose plans are remembered; another one is made anew, which takes some microseconds."""


class Plans:
    """Of one limiter: a plan for each set of limits."""

    def __init__(self, root: str, name: str, tag: str | None) -> None:
        self._root, self._name, self._tag = root, name, tag
        self._tokens = Tokens()
        self._made = lru_cache(MOST)(self._make)

    def of(self, limits: Limit | Iterable[Limit]) -> Plan:
        """The plan of these limits.

        Raises:
            ArgumentError: they are none that a limiter can have.
        """
        return self._made(limits if isinstance(limits, (Limit, tuple)) else tuple(limits))

    def to_refund(self, decision: Decision, now: Plan) -> Plan:
        """By what a decision is given back when its key has the limits of ``now``.

        gcra gives back the time that it took, at the rate of that decision. The others drop what is older than the
        window, which must be the one that counts now.
        """
        if decision.limits == now.limits:
            return now
        present = {(limit.label, limit.algorithm): limit for limit in now.limits}
        return self.of(
            limit if limit.algorithm == "gcra" else present.get((limit.label, limit.algorithm), limit)
            for limit in decision.limits
        )

    def _make(self, limits: Limit | tuple[Limit, ...]) -> Plan:
        return Plan(self._root, limits, self._name, self._tag, self._tokens)
