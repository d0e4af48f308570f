"""The plans of one limiter whose keys need not have the same limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from riskscale._core.base import BaseHub
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError
from riskscale.rate.calls import Decision, Plan
from riskscale.rate.limit import Limit
from riskscale.typing import LimitSource

MOST = 1024
"""Sets of limits whose plans are remembered; another one is made anew, which takes some microseconds."""
AT_ONCE = 4096
"""Keys that a source is asked for at one time."""


class Plans:
    """Of one limiter: a plan for each set of limits that ``source`` gives."""

    def __init__(self, hub: BaseHub, source: LimitSource, name: str, tag: str | None) -> None:
        if getattr(source, "blocking", hub._blocking) != hub._blocking:
            raise ArgumentError("limits", "are a source of the other kind: riskscale and riskscale.sync have one each")
        self.source, self.name = source, name
        self._root, self._tag = hub.root, tag
        self._first: Plan | None = None
        self._made = lru_cache(MOST)(self._make)

    def known(self, keys: Sequence[str]) -> list[Plan]:
        """The plan of each key, as far as its limits are known."""
        return [self._of(limits) for limits in self.source.known(keys)]

    def to_refund(self, decision: Decision, now: Plan) -> Plan:
        """By what a decision is given back when its key has the limits of ``now``.

        gcra gives back the time that it took, at the rate of that decision. The others drop what is older than the
        window, which must be the one that counts now.
        """
        if decision.limits == now.limits:
            return now
        present = {(limit.label, limit.algorithm): limit for limit in now.limits}
        return self._of(
            limit if limit.algorithm == "gcra" else present.get((limit.label, limit.algorithm), limit)
            for limit in decision.limits
        )

    def _of(self, limits: Limit | Iterable[Limit]) -> Plan:
        return self._made(limits if isinstance(limits, (Limit, tuple)) else tuple(limits))

    def _make(self, limits: Limit | tuple[Limit, ...]) -> Plan:
        plan = Plan(self._root, limits, self.name, self._tag)
        self._first = self._first or plan
        plan._nonce, plan._serial = self._first._nonce, self._first._serial  # its tokens are the limiter's
        return plan


def planned(hub: BaseHub, limits: Limit | Iterable[Limit] | LimitSource, name: str, tag: str | None) -> Plan | Plans:
    """What a limiter decides by: the same limits for all keys, or a source of them."""
    check_name(name, "name")
    if isinstance(limits, LimitSource):
        return Plans(hub, limits, name, tag)
    return Plan(hub.root, limits, name, tag)
