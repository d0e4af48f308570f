"""The local deny cache: what was refused is refused here until it may pass, without asking again.

Keyed by what the server knows, so that a refund, a reset or a changed limit of any limiter of the hub ends it at once.
Elsewhere it ends at the latest when the refusal said that the request may pass.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from riskscale._core.base import BaseHub
from riskscale.rate.calls import LONG, Decision, Plan

MOST = 10_000
"""Keys remembered; of more, the oldest are asked for again."""


class Denial:
    """One refusal. A cost that is higher will not pass before this one does."""

    __slots__ = ("decision", "is_over", "kind", "until")

    def __init__(self, kind: object, decision: Decision, until: float) -> None:
        self.kind, self.decision, self.until = kind, decision, until
        self.is_over = False


class Denials:
    """One per hub."""

    def __init__(self, hub: BaseHub) -> None:
        self._monotonic = hub.monotonic
        self._known: OrderedDict[bytes, Denial] = OrderedDict()
        self._mutex = threading.Lock()

    def look(self, plan: Plan, key: str, cost: int) -> Decision | None:
        """The refusal of such a request, as long as it lasts."""
        denial = self._known.get(plan.keys(key)[0])
        if denial is None or denial.is_over or denial.kind != plan.kind or denial.decision.cost > cost:
            return None
        left = denial.until - self._monotonic()
        return replace(denial.decision, retry_after=left, cost=cost) if left > 0 else None

    def note(self, plan: Plan, decision: Decision, sent: float) -> None:
        """A refusal, asked for at ``sent``: counted from then, so that it never lasts too long. Of no very long key."""
        if len(decision.key) > LONG:
            return
        denial = Denial(plan.kind, decision, sent + decision.retry_after)
        with self._mutex:
            for each in plan.keys(decision.key):
                self._known.pop(each, None)
                self._known[each] = denial
            while len(self._known) > MOST:
                self._known.popitem(last=False)

    def forget(self, keys: Iterable[bytes]) -> None:
        """Units came back to these keys."""
        with self._mutex:
            for key in keys:
                denial = self._known.pop(key, None)
                if denial is not None:
                    denial.is_over = True

    async def aclose(self) -> None:
        """Nothing is kept outside of it."""

    def close(self) -> None:
        """Nothing is kept outside of it."""
