"""What a replica has to tell of itself: recorded from any thread, told in batches, counted once however often sent."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from riskscale._core.durations import Duration, seconds
from riskscale.fleet.histogram import TOP


@dataclass(slots=True)
class Batch:
    """One report: the same when it is sent again, but for its age, which grows."""

    sequence: int
    begun: float
    ended: float
    counts: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    cpu_ppm: int | None = None
    queue: int | None = None
    observes: bool = False
    leaves: bool = False


class Outbox:
    """Of one replica; ``window`` in seconds, after which nothing is worth telling."""

    def __init__(self, monotonic: Callable[[], float], window: float) -> None:
        self._monotonic, self._window = monotonic, window
        self._mutex = threading.Lock()
        self._counts: dict[int, int] = {}
        self._failures = 0
        self._observes = False
        self._begun = monotonic()
        self._sequence = 0
        self._waiting: deque[Batch] = deque()

    def note(self, latency: Duration, failed: bool) -> None:
        """One request that has ended."""
        if type(latency) is not float or not 0.0 <= latency < math.inf:
            latency = seconds(latency, "latency")
        us = int(latency * 1e6)
        shift = us.bit_length() - 6  # histogram.bucket_of, without the call
        bucket = us if shift <= 0 else (shift << 5) + (us >> shift)
        if bucket > TOP:
            bucket = TOP
        with self._mutex:
            self._counts[bucket] = self._counts.get(bucket, 0) + 1
            if failed:
                self._failures += 1

    def close(self, cpu_ppm: int | None, queue: int | None, *, leaves: bool) -> None:
        """Make a batch of what was noted since the last one."""
        now = self._monotonic()
        with self._mutex:
            counts, self._counts = self._counts, {}
            failures, self._failures = self._failures, 0
            begun, self._begun = self._begun, now
        self._observes = self._observes or bool(counts)
        if now - begun > self._window:  # whoever should have told it was held up: when what ended is not known
            counts, failures = {}, 0
        self._sequence += 1
        self._waiting.append(
            Batch(self._sequence, begun, now, counts, failures, cpu_ppm, queue, self._observes, leaves)
        )

    def due(self) -> Iterator[tuple[Batch, int]]:
        """What was not answered yet, oldest first, each with its age in microseconds; what left the window is dropped.

        Each is followed by :meth:`answered`, or by no other.
        """
        while self._waiting:
            batch, now = self._waiting[0], self._monotonic()
            if len(self._waiting) > 1 and now - batch.ended > self._window:
                self._waiting.popleft()
            else:
                yield batch, max(0, round((now - batch.ended) * 1e6))

    def answered(self) -> None:
        """The first one was."""
        self._waiting.popleft()
