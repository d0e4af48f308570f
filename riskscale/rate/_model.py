"""The rate algorithms in plain Python: the oracle of the tests, and the in-memory backend.

The same decisions as ``lua/rate``, in the simplest form that makes them: the log is a list of stamps, not a ring.
``wait`` and ``view`` change nothing; ``take`` (which counts units as used at ``at``, now or later) and ``refund`` do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from riskscale.rate.limit import Algorithm, Limit

NEAR = 64
"""Stamps of a log that may lie between the end of it and one that a refund takes out."""


class Outcome(NamedTuple):
    """One item of a reply: ``retry_us`` 0 = admitted, > 0 = refused until then, -1 = never."""

    retry_us: int
    remaining: int
    reset_us: int


class Lent(NamedTuple):
    """One item of a loan's reply; ``granted`` is 0 where ``retry_us`` is not."""

    granted: int
    life_us: int
    retry_us: int
    remaining: int


class RateModel(Protocol):
    """What the models have in common; all times in microseconds."""

    @property
    def expires_us(self) -> int: ...
    def wait(self, limit: Limit, cost: int, now: int) -> int: ...
    def take(self, limit: Limit, cost: int, now: int, at: int) -> None: ...
    def view(self, limit: Limit, now: int) -> tuple[int, int]: ...
    def refund(self, limit: Limit, cost: int, at: int, now: int) -> int: ...


def interval(limit: Limit) -> int:
    """Microseconds per unit of a gcra limit."""
    return -(-limit.window_us // limit.count)


class Gcra:
    """``tat``: the theoretical arrival time; ``lent``: the end of the loan that ends last, while it is to come."""

    def __init__(self) -> None:
        self.tat = self.lent = 0

    @property
    def expires_us(self) -> int:
        return self.tat

    def wait(self, limit: Limit, cost: int, now: int) -> int:
        return max(0, max(self.tat, now) + (cost - limit.capacity) * interval(limit) - now)

    def take(self, limit: Limit, cost: int, now: int, at: int) -> None:
        self.tat = max(self.tat, at) + cost * interval(limit)
        self.lend_until(at, now)

    def lend_until(self, at: int, now: int) -> None:
        """What a write keeps of it."""
        lent = max(self.lent, at)
        self.lent = lent if lent > now else 0

    def view(self, limit: Limit, now: int) -> tuple[int, int]:
        debt = max(self.tat - now, 0)
        return max(0, (limit.capacity * interval(limit) - debt) // interval(limit)), debt

    def refund(self, limit: Limit, cost: int, at: int, now: int) -> int:
        seen = max(now, self.tat - limit.capacity * interval(limit), self.lent)
        back = min(cost * interval(limit) - max(seen - at, 0), self.tat - now)
        if back <= 0:
            return 0
        self.tat -= back
        self.lend_until(0, now)
        return min(cost, -(-back // interval(limit)))


class SlidingLog:
    """Every unit's stamp, oldest first."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.newest = 0
        self.expires_us = 0

    def _live(self, limit: Limit, now: int) -> list[int]:
        edge = now - limit.window_us
        return [stamp for stamp in self.stamps if stamp > edge]

    def wait(self, limit: Limit, cost: int, now: int) -> int:
        live = self._live(limit, now)
        excess = len(live) + cost - limit.count
        return live[excess - 1] + limit.window_us - now if excess > 0 else 0

    def take(self, limit: Limit, cost: int, now: int, at: int) -> None:
        live = self._live(limit, now)
        self.newest = max(at, self.newest)
        self.stamps = live + [self.newest] * cost
        self.expires_us = self.newest + limit.window_us

    def view(self, limit: Limit, now: int) -> tuple[int, int]:
        live = self._live(limit, now)
        return max(0, limit.count - len(live)), self.newest + limit.window_us - now if live else 0

    def refund(self, limit: Limit, cost: int, at: int, now: int) -> int:
        live = self._live(limit, now)
        back = min(cost, len(live)) if at + limit.window_us > max(now, self.newest) else 0
        end = bisect_right(live, at)
        first = end - back
        if back and first >= 0 and live[first] == live[end - 1] == at and len(live) - end <= NEAR:
            self.stamps = live[:first] + live[end:]
            self.newest = self.stamps[-1] if self.stamps else self.newest
        elif back:  # the oldest go: what stays counts longer than it should, never shorter
            self.stamps = live[back:]
        return back


class SlidingWindow:
    """Buckets of [their last microsecond, their units], oldest first."""

    def __init__(self) -> None:
        self.buckets: list[list[int]] = []
        self.expires_us = 0

    def _live(self, limit: Limit, now: int) -> list[list[int]]:
        first = next((i for i, (last, _) in enumerate(self.buckets) if last + limit.window_us > now), None)
        return [] if first is None else [list(bucket) for bucket in self.buckets[first:]]

    def wait(self, limit: Limit, cost: int, now: int) -> int:
        live = self._live(limit, now)
        excess = sum(units for _, units in live) + cost - limit.count
        wait = 0
        for last, units in live:
            if excess <= 0:
                break
            wait, excess = last + limit.window_us - now, excess - units
        return wait

    def take(self, limit: Limit, cost: int, now: int, at: int) -> None:
        self.buckets = self._live(limit, now)
        width = -(-limit.window_us // 60)
        if self.buckets and self.buckets[-1][0] >= at:
            self.buckets[-1][1] += cost
        else:
            self.buckets.append([(at // width + 1) * width - 1, cost])
        self.expires_us = self.buckets[-1][0] + limit.window_us

    def view(self, limit: Limit, now: int) -> tuple[int, int]:
        live = self._live(limit, now)
        used = sum(units for _, units in live)
        return max(0, limit.count - used), live[-1][0] + limit.window_us - now if used else 0

    def refund(self, limit: Limit, cost: int, at: int, now: int) -> int:
        live = self._live(limit, now)
        bucket = next((bucket for bucket in live if bucket[0] >= at), None)
        if bucket is None or at + limit.window_us <= max(now, live[-1][0]):
            return 0
        back = min(cost, bucket[1])
        if back:
            bucket[1] -= back
            self.buckets = live
        return back


class FixedWindow:
    """When the window began, and the units used in it."""

    def __init__(self) -> None:
        self.start = self.used = 0
        self.expires_us = 0

    def _used(self, limit: Limit, now: int) -> int:
        return self.used if now - self.start < limit.window_us else 0

    def left_us(self, limit: Limit, now: int) -> int:
        """What is left of the window but its last microsecond, which still belongs to it."""
        return limit.window_us - 1 - (now - self.start if self._used(limit, now) else 0)

    def wait(self, limit: Limit, cost: int, now: int) -> int:
        over = cost > limit.count - self._used(limit, now)
        return self.start + limit.window_us - now if over else 0

    def take(self, limit: Limit, cost: int, now: int, at: int) -> None:
        used = self._used(limit, now)
        self.start, self.used = self.start if used else now, used + cost
        self.expires_us = self.start + limit.window_us

    def view(self, limit: Limit, now: int) -> tuple[int, int]:
        used = self._used(limit, now)
        return max(0, limit.count - used), self.start + limit.window_us - now if used else 0

    def refund(self, limit: Limit, cost: int, at: int, now: int) -> int:
        if at < self.start or at - self.start >= limit.window_us:
            return 0
        back = min(cost, self._used(limit, now))
        self.used -= back
        return back


MODELS: dict[Algorithm, type[RateModel]] = {
    "gcra": Gcra,
    "sliding_log": SlidingLog,
    "sliding_window": SlidingWindow,
    "fixed_window": FixedWindow,
}


def hit(
    states: Sequence[RateModel], limits: Sequence[Limit], cost: int, now: int, charge: bool = True
) -> list[Outcome]:
    """One request under several limits, all or nothing: an outcome a limit; admitted where every retry_us is 0."""
    waits = [
        -1 if cost > limit.capacity else state.wait(limit, cost, now)
        for state, limit in zip(states, limits, strict=True)
    ]
    if charge and not any(waits):
        for state, limit in zip(states, limits, strict=True):
            state.take(limit, cost, now, now)
    views = [state.view(limit, now) for state, limit in zip(states, limits, strict=True)]
    return [Outcome(wait, *view) for wait, view in zip(waits, views, strict=True)]


def lend(state: RateModel, limit: Limit, need: int, want: int, life_us: int, now: int) -> Lent:
    """A loan of ``need`` units or up to ``want``, to be used within ``life_us``; it counts as used at its end."""
    if isinstance(state, FixedWindow):
        life_us = min(life_us, state.left_us(limit, now))
    retry_us = -1 if need > limit.capacity else state.wait(limit, need, now)
    granted = 0
    if retry_us == 0:
        granted = max(need, min(want, -(-state.view(limit, now)[0] // 2)))
        state.take(limit, granted, now, now + life_us)
    return Lent(granted, life_us if granted else 0, retry_us, state.view(limit, now)[0])
