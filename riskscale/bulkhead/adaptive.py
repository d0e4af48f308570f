"""A limit that finds itself: how many may run at once, from how long they take."""

from __future__ import annotations

import math

from riskscale._core.durations import integer
from riskscale.errors import ArgumentError

MOST = 1_000_000
WARM_UP = 10
"""Samples that are averaged plainly before the smoothing begins."""
SHORTEST = 1e-9


class AdaptiveLimit:
    """How many may run at once, after Gradient2 of Netflix's concurrency-limits.

    While calls take as long as they used to, the limit grows by ``smoothing * queue_size`` a sample; when they take
    longer than ``tolerance`` times the long average it shrinks, by half of itself (smoothed) at the most. It does not
    grow while less than half of it is used.

    Args:
        initial: what it begins with.
        min_limit: it never falls below.
        max_limit: it never rises above; 1 to 1,000,000.
        queue_size: by how many it would grow at each sample, if nothing were smoothed.
        smoothing: the share of each new estimate, above 0 and at most 1.
        long_window: samples of the long average.
        tolerance: how many times the long average a call may take before the limit shrinks; 1 or more.

    Raises:
        ArgumentError: an argument is out of range, or ``initial`` is not between the other two.

    One belongs to one bulkhead, which tells it of its calls. Source: ``Gradient2Limit`` of
    https://github.com/Netflix/concurrency-limits, with its defaults.
    """

    def __init__(
        self,
        initial: int = 20,
        min_limit: int = 20,
        max_limit: int = 200,
        *,
        queue_size: int = 4,
        smoothing: float = 0.2,
        long_window: int = 600,
        tolerance: float = 1.5,
    ) -> None:
        self._max = integer(max_limit, "max_limit", 1, MOST)
        self._min = integer(min_limit, "min_limit", 1, self._max)
        self._estimate = float(integer(initial, "initial", self._min, self._max))
        self._queue_size = integer(queue_size, "queue_size", 0, MOST)
        self._smoothing = _number(smoothing, "smoothing", 0, 1)
        if not self._smoothing:
            raise ArgumentError("smoothing", "must be above 0: at 0 the limit never moves")
        self._factor = 2 / (integer(long_window, "long_window", 1, MOST) + 1)
        self._tolerance = _number(tolerance, "tolerance", 1, MOST)
        self._long = 0.0
        self._sum, self._samples = 0.0, 0

    @property
    def limit(self) -> int:
        """How many may run at once."""
        return int(self._estimate)

    def update(self, seconds: float, in_flight: int) -> int:
        """One call took ``seconds``, and when it began ``in_flight`` were running, itself included; the limit now."""
        short = max(seconds, SHORTEST)
        ratio = self._averaged(short) / short
        if ratio > 2:  # after a long overload the average would take long to come down by itself
            self._long *= 0.95
        if in_flight < self._estimate / 2:
            return self.limit
        wanted = self._estimate * max(0.5, min(1.0, self._tolerance * ratio)) + self._queue_size
        smoothed = self._estimate * (1 - self._smoothing) + wanted * self._smoothing
        self._estimate = max(self._min, min(self._max, smoothed))
        return self.limit

    def _averaged(self, sample: float) -> float:
        if self._samples < WARM_UP:
            self._samples += 1
            self._sum += sample
            self._long = self._sum / self._samples
        else:
            self._long += (sample - self._long) * self._factor
        return self._long

    def __repr__(self) -> str:
        return f"<riskscale.AdaptiveLimit {self.limit} of {self._min} to {self._max}>"


def _number(value: float, argument: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ArgumentError(argument, f"must be a number, not {value!r}")
    if not low <= value <= high:
        raise ArgumentError(argument, f"must be from {low:g} to {high:g}, not {value!r}")
    return float(value)
