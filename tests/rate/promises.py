"""What is promised of each algorithm, asked of what was admitted: (time in microseconds, cost), in order of time."""

from __future__ import annotations

import bisect

from riskscale.rate._model import interval
from riskscale.rate.limit import Limit

Admitted = list[tuple[int, int]]


def most_in_any_window(admitted: Admitted, window_us: int) -> int:
    """The most units in any (t - window, t]."""
    times = [at for at, _ in admitted]
    sums = [0]
    for _, cost in admitted:
        sums.append(sums[-1] + cost)
    return max(
        (sums[i + 1] - sums[bisect.bisect_right(times, at - window_us)] for i, at in enumerate(times)), default=0
    )


def most_from_a_first(admitted: Admitted, window_us: int) -> int:
    """The most units in a fixed window: it starts with the first unit after the last one ended."""
    start, used, most = -window_us, 0, 0
    for at, cost in admitted:
        if at - start >= window_us:
            start, used = at, 0
        used += cost
        most = max(most, used)
    return most


def is_kept(limit: Limit, admitted: Admitted) -> bool:
    """The promise of docs/limits.md."""
    window_us = limit.window_us
    match limit.algorithm:
        case "fixed_window":
            return most_in_any_window(admitted, window_us) <= 2 * limit.count
        case "gcra":
            spans = (1, window_us // 3 + 1, window_us, 3 * window_us)
            return all(most_in_any_window(admitted, w) <= limit.capacity + w // interval(limit) for w in spans)
        case _:
            return most_in_any_window(admitted, window_us) <= limit.count
