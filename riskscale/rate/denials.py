"""The local deny cache: what was refused is refused here until it may pass, without asking again.

Kept by the key that refused, so that it holds for every request under that key and limit, and a refund, a reset or a
changed limit of any limiter of the hub ends it at once.
Elsewhere it ends at the latest when the refusal said that the request may pass.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from riskscale._core.base import BaseHub
from riskscale.rate.calls import Decision, Plan, Said, Subject, is_long
from riskscale.rate.limit import Limit

MOST = 10_000
"""Keys remembered; of more, the oldest are asked for again."""


@dataclass(frozen=True, slots=True)
class Denial:
    """What one limit said of a cost. A higher one will not pass before that one does."""

    limit: Limit
    decision: Decision
    until: float


class Denials:
    """One per hub."""

    def __init__(self, hub: BaseHub) -> None:
        self._monotonic = hub.monotonic
        self._known: OrderedDict[bytes, Denial] = OrderedDict()
        self._forgot_at = -math.inf
        self._mutex = threading.Lock()

    def look(self, plan: Plan, subject: Subject, cost: int) -> Decision | None:
        """The refusal of such a request, as long as it lasts: any of its limits is enough."""
        for which, key in enumerate(plan.keys(subject)):
            denial = self._known.get(key)
            if denial is None or denial.decision.cost > cost or denial.limit != plan.limits[which]:
                continue
            left, said = denial.until - self._monotonic(), denial.decision
            if left > 0:
                return plan.made(subject, cost, which, Said(said.remaining, left, said.reset_after, said.at))
        return None

    def note(self, plan: Plan, decision: Decision, sent: float) -> None:
        """A refusal, asked for at ``sent``: counted from then, so that it never lasts too long. Of no very long key."""
        if is_long(decision.subject) or sent <= self._forgot_at:  # what came back since may be what it lacked
            return
        which = plan.policies.index(plan.policy_of(decision))
        key = plan.keys(decision.subject)[which]
        with self._mutex:
            self._known.pop(key, None)
            self._known[key] = Denial(decision.limit, decision, sent + decision.retry_after)
            while len(self._known) > MOST:
                self._known.popitem(last=False)

    def forget(self, keys: Iterable[bytes]) -> None:
        """Units came back to these keys."""
        self._forgot_at = self._monotonic()
        with self._mutex:
            for key in keys:
                self._known.pop(key, None)

    async def aclose(self) -> None:
        """Nothing is kept outside of it."""

    def close(self) -> None:
        """Nothing is kept outside of it."""
