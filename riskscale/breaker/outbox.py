"""What a replica has to tell the server: calls that have ended, and probes. Counted once, however often it is sent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from riskscale.breaker._model import Item
from riskscale.breaker.state import FAILURE, Counts
from riskscale.breaker.window import SLICES

MOST_ITEMS = 64
Probe: TypeAlias = tuple[str, int | None]
"""The token of one that has ended, and its kind; None if it came to nothing."""


@dataclass(slots=True)
class Slice:
    """Calls that ended at about the same time."""

    begin_us: int
    last_us: int
    calls: int = 0
    failures: int = 0
    slow: int = 0

    def item(self, now_us: int) -> Item:
        """As it is told."""
        return Item(now_us - self.last_us, Counts(self.calls, self.failures, self.slow))


@dataclass(slots=True)
class Batch:
    """One report: the same when it is sent again, but for the ages, which grow."""

    sequence: int
    slices: list[Slice]
    probe: Probe | None

    def items(self, window_us: int, now_us: int) -> list[Item]:
        """What still counts."""
        return [each.item(now_us) for each in self.slices if each.last_us > now_us - window_us]


class Outbox:
    """Of one replica."""

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._slices: deque[Slice] = deque()
        self._sequence = 0
        self._batch: Batch | None = None
        self.probes: deque[Probe] = deque()
        self.failures = 0
        """That were noted since the last batch."""

    @property
    def is_empty(self) -> bool:
        """Whether everything was told, and answered."""
        return not (self._slices or self.probes or self._batch)

    def note(self, kind: int, now_us: int) -> None:
        """One call that has ended."""
        slices = self._slices
        if not slices or now_us >= slices[-1].begin_us + self._window_us // SLICES:
            slices.append(Slice(now_us, now_us))
            while slices[0].last_us <= now_us - self._window_us:
                slices.popleft()
        last = slices[-1]
        last.last_us = now_us
        last.calls += 1
        if kind:
            last.failures += kind & FAILURE
            last.slow += kind >> 1
            self.failures += kind & FAILURE

    def void(self) -> None:
        """The calls are of an older generation now."""
        self._slices.clear()
        self.failures = 0
        if self._batch is not None:
            self._batch.slices = []

    def batch(self) -> Batch:
        """The next one; the last one as long as it was not answered."""
        if self._batch is None:
            self._sequence += 1
            probe = self.probes.popleft() if self.probes else None
            self._batch = Batch(self._sequence, list(self._slices)[-MOST_ITEMS:], probe)
            self._slices.clear()
            self.failures = 0
        return self._batch

    def answered(self) -> None:
        """The last batch was."""
        self._batch = None
