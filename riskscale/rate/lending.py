"""What is asked of the server for quota leases: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from riskscale._core.call import Arg, Call, line
from riskscale._core.durations import MICRO, Duration, integer, microseconds
from riskscale.errors import ArgumentError, StateError
from riskscale.rate.calls import Plan, holds_something_else
from riskscale.rate.limit import Limit


class Wanted(NamedTuple):
    """One request: ``need`` units or none, up to ``want``."""

    key: str
    need: int
    want: int


class Lent(NamedTuple):
    """Its answer; a refusal has no units."""

    at_us: int
    granted: int
    life_us: int
    retry_us: int
    remaining: int


class LoanPlan:
    """The calls of ``rate/lease.lua`` under one limit."""

    most = 128

    def __init__(self, plan: Plan, life_us: int) -> None:
        self._plan = plan
        self.kind: tuple[str, tuple[Arg, ...]] = ("rate.lease", (*plan.words, life_us))

    def key_of(self, key: str) -> bytes:
        """The key on the server."""
        return self._plan.keys(key)[0]

    def keys_of(self, items: Sequence[Wanted]) -> Sequence[bytes]:
        """The keys of items, in the order of KEYS."""
        return [self.key_of(item.key) for item in items]

    def words_of(self, items: Sequence[Wanted]) -> Sequence[Arg]:
        """What they need and want."""
        return [word for item in items for word in item[1:]]

    def lend(self, items: Sequence[Wanted]) -> Call[list[Lent | StateError]]:
        """``items`` in one call, at most ``most`` of them."""
        script, fixed = self.kind
        keys, words = tuple(self.keys_of(items)), (*fixed, *self.words_of(items))
        return Call(script, keys, words, lambda reply: self.decided(line(reply), items))

    def decided(self, numbers: Sequence[int], items: Sequence[Wanted], first: int = 0) -> list[Lent | StateError]:
        """What a reply says of ``items``, which were the ``first`` and following of the call."""
        found: list[Lent | StateError] = []
        for at, item in enumerate(items, first):
            granted, life_us, retry_us, remaining = numbers[1 + 4 * at : 5 + 4 * at]
            lent = Lent(numbers[0], granted, life_us, retry_us, remaining)
            found.append(holds_something_else(item.key) if retry_us == -2 else lent)
        return found


def counts_for(limit: Limit) -> float:
    """Seconds after which a unit used counts no more, at the latest."""
    if limit.algorithm == "gcra":
        return limit.capacity * -(-limit.window_us // limit.count) / MICRO
    return limit.window_us / MICRO


def check_lease(limit: Limit, max_lease: int | None, lease_life: Duration | None) -> tuple[int, int]:
    """``max_lease``, a tenth of the limit where it is None, and ``lease_life`` in microseconds, a second or a tenth."""
    if not isinstance(limit, Limit):
        raise ArgumentError("limit", f"must be one Limit, not {type(limit).__name__}")
    most_us = max(1, round(counts_for(limit) * MICRO) // 2)
    if max_lease is None:
        max_lease = max(1, limit.capacity // 10)
    life_us = max(1, min(MICRO, most_us // 5))
    if lease_life is not None:
        life_us = microseconds(lease_life, "lease_life", 1, min(most_us, limit.window_us))
    return integer(max_lease, "max_lease", 1, limit.capacity), life_us
