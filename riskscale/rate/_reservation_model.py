"""Reservations under gcra in plain Python, as ``rate/reserve`` and ``rate/settle`` keep them: the tests' oracle."""

from __future__ import annotations

from typing import NamedTuple

from riskscale.rate._model import Gcra, interval
from riskscale.rate.limit import Limit

MOST = 2**53


class Booked(NamedTuple):
    """As :class:`riskscale.rate._model.Outcome`, and when it may start."""

    retry_us: int
    remaining: int
    reset_us: int
    start_us: int


class Reservations:
    """A gcra key on which reservations are made."""

    KEPT_US = 60_000_000

    def __init__(self) -> None:
        self.gcra = Gcra()
        self.starts: dict[str, int] = {}
        self.reach: dict[str, int] = {}
        self.owed: dict[str, int] = {}
        self.lowered = 0
        self.turn = 0
        self.older = self.newer = MOST

    @property
    def _last(self) -> tuple[int, str]:
        return max(((start, token) for token, start in self.starts.items()), default=(0, ""))

    def _is_stale(self, now: int) -> bool:
        return self._last[0] > now and self.gcra.tat <= self._last[0]

    def reserve(self, limit: Limit, token: str, cost: int, max_wait: int, now: int) -> Booked:
        stale = self._is_stale(now)
        if token in self.starts and not stale:
            return Booked(0, *self.gcra.view(limit, now), self.starts[token])
        if cost > limit.capacity:
            return Booked(-1, *self.gcra.view(limit, now), 0)
        due, last = max(self.gcra.tat, now) + cost * interval(limit), 0 if stale else self._last[0]
        start = max(now, last, due - limit.capacity * interval(limit))
        if start - now > max_wait:
            return Booked(start - now - max_wait, *self.gcra.view(limit, now), start)
        if stale:
            self.starts, self.reach, self.owed, self.lowered, self.turn, self.newer = {}, {}, {}, 0, 0, MOST
        self._forget_old(limit, now)
        if start > now:
            if self.turn <= now:
                self.turn, self.older, self.newer = last, self.newer, MOST
            self.newer = min(self.newer, due - cost * interval(limit) - start + self.lowered)
        self.gcra.tat, self.starts[token], self.reach[token] = due, start, due + self.lowered
        self.gcra.lend_until(0, now)
        return Booked(0, *self.gcra.view(limit, now), start)

    def settle(self, limit: Limit, token: str, start: int | None, cost: int, actual: int, now: int) -> tuple[int, int]:
        """Whether by this call, and the units that came back."""
        known, start = token in self.starts, self.starts.get(token, start)
        if start is None or (known and token not in self.reach):
            return 0, 0
        lost = self._is_stale(now) or (not known and start > now)
        self.gcra.tat = max(self.gcra.tat, now)
        reach = max(start + cost * interval(limit), self.reach.pop(token, 0) - self.lowered)
        self.starts.pop(token, None)
        rest, back = (cost - actual) * interval(limit), 0
        if rest < 0:
            self.gcra.tat -= rest
        elif not lost:
            room = reach - max(self._last[0], self.gcra.lent, now)
            if self._last[0] > now and self.gcra.lent <= now:
                slack = min(self.older if self.turn > now else MOST, self.newer) - self.lowered
                room = max(room, min(reach - now, slack))
            back = max(0, min(rest, room, self.gcra.tat - now))
            self._lower(back)
            if actual == 0 and start > now and back < rest:
                self.owed[token] = rest - back
        self.starts[token] = start if actual or token in self.owed else min(start, now)
        while self._last[0] > now and self.gcra.lent <= now and (last := self._last[1]) in self.owed:
            self._lower(min(self.owed.pop(last), self.gcra.tat - now))
            self.starts[last] = now
        self.gcra.lend_until(0, now)
        self._forget_old(limit, now)
        return 1, min(cost - actual, -(-back // interval(limit)))

    def _forget_old(self, limit: Limit, now: int) -> None:
        kept = now - limit.capacity * interval(limit) - self.KEPT_US
        for old in sorted(self.starts, key=lambda each: (self.starts[each], each))[:16]:
            if self.starts[old] <= kept:
                for known in (self.starts, self.reach, self.owed):
                    known.pop(old, None)

    def _lower(self, by: int) -> None:
        self.gcra.tat -= by
        self.lowered += by
