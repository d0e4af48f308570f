"""The outcomes by which rates are reckoned: of the last calls, or of the last while. Times are integer microseconds."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from riskscale.breaker.state import FAILURE, Counts

SLICES = 10
"""Of a window by time; the oldest is dropped whole."""


class Window(Protocol):
    """Outcomes that still count."""

    calls: int
    """How many there are, since one was last added."""

    def add(self, kind: int, now_us: int) -> None:
        """One call that has just ended."""

    def counts(self, now_us: int) -> Counts:
        """Of those that count now."""

    def clear(self) -> None:
        """Forget all."""


class CountWindow:
    """The last ``size`` calls."""

    def __init__(self, size: int) -> None:
        self._kinds: deque[int] = deque(maxlen=size)
        self.calls = self._failures = self._slow = 0

    def add(self, kind: int, now_us: int) -> None:
        """One call that has just ended."""
        kinds = self._kinds
        if self.calls == kinds.maxlen:
            oldest = kinds[0]
            self._failures -= oldest & FAILURE
            self._slow -= oldest >> 1
        else:
            self.calls += 1
        kinds.append(kind)
        if kind:
            self._failures += kind & FAILURE
            self._slow += kind >> 1

    def counts(self, now_us: int) -> Counts:
        """Of those that count now."""
        return Counts(self.calls, self._failures, self._slow)

    def clear(self) -> None:
        """Forget all."""
        self._kinds.clear()
        self.calls = self._failures = self._slow = 0


class TimeWindow:
    """The last ``window_us``, in slices that begin at multiples of a tenth of it: a slice counts until its beginning is
    as old as the window is long."""

    def __init__(self, window_us: int) -> None:
        self.window_us = window_us
        self._width = window_us // SLICES
        self._slices: dict[int, list[int]] = {}
        self._newest = [0, 0, 0]
        """The present slice."""
        self._from = self._until = 0
        """While that is so, and no other ends."""
        self.calls = self._failures = self._slow = 0

    def add(self, kind: int, now_us: int) -> None:
        """One call that has just ended."""
        if not self._from <= now_us < self._until:
            self._advance(now_us)
        newest = self._newest
        newest[0] += 1
        self.calls += 1
        if kind:
            newest[1] += kind & FAILURE
            newest[2] += kind >> 1
            self._failures += kind & FAILURE
            self._slow += kind >> 1

    def counts(self, now_us: int) -> Counts:
        """Of those that count now."""
        if not self._from <= now_us < self._until:
            self._advance(now_us)
        return Counts(self.calls, self._failures, self._slow)

    def clear(self) -> None:
        """Forget all."""
        self._slices.clear()
        self.calls = self._failures = self._slow = 0
        self._until = 0

    def _advance(self, now_us: int) -> None:
        """Begin another slice, and drop those that are too old. A thread that read the clock earlier may come later."""
        now_us = max(now_us, self._from)
        slices = {at: each for at, each in self._slices.items() if now_us - self.window_us < at <= now_us}
        self._from = now_us - now_us % self._width
        self._newest = slices.setdefault(self._from, [0, 0, 0])
        self._slices, self._until = slices, min(self._from + self._width, min(slices) + self.window_us)
        self.calls, self._failures, self._slow = (sum(each[place] for each in slices.values()) for place in range(3))
