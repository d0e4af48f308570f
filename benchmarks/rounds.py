"""Timing in turns: each candidate gets a short slice in every round, so that a noisy minute hits all alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

Work = Callable[[int], object]
"""Does so many operations, one after the other or concurrently."""
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is measured.

    Attributes:
        rounds: turns that every candidate gets; the figures are medians over them.
        slice_s: seconds of one turn.
        calls: calls of one turn where the server's own clock is read.
        callers: concurrent asyncio callers, a table row each.
        largest: the most keys, and the highest limit, that growth and memory go up to.
    """

    rounds: int = 9
    slice_s: float = 0.1
    calls: int = 300
    callers: tuple[int, ...] = (1, 64, 256)
    largest: int = 1_000_000

    @classmethod
    def short(cls) -> Settings:
        """A look in seconds: nothing but the order of magnitude."""
        return cls(rounds=3, slice_s=0.02, calls=50, callers=(1, 64), largest=10_000)

    def sizes(self, smallest: int = 100) -> Iterator[int]:
        """Powers of ten up to the largest."""
        size = smallest
        while size <= self.largest:
            yield size
            size *= 10


def seconds_per_operation(works: Mapping[K, Work], settings: Settings) -> dict[K, list[float]]:
    """Seconds per operation of each, one figure a round."""
    counts = {name: _count(work, settings.slice_s) for name, work in works.items()}
    taken: dict[K, list[float]] = {name: [] for name in works}
    for names in turns(list(works), settings.rounds):
        for name in names:
            taken[name].append(_timed(works[name], counts[name]) / counts[name])
    return taken


def turns(names: list[K], rounds: int) -> Iterator[list[K]]:
    """The names once a round, each round from another one on, so that nobody always follows the same neighbour."""
    for number in range(rounds):
        first = number * len(names) // rounds
        yield names[first:] + names[:first]


def ratio(over: list[float], under: list[float]) -> float:
    """The median of the rounds' quotients."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def _count(work: Work, slice_s: float) -> int:
    """How many operations fill a slice; finding out also warms up. What the machine did meanwhile hits one of two."""
    count = 1
    while (took := min(_timed(work, count), _timed(work, count))) < slice_s / 4:
        count *= 4
    return max(1, round(count * slice_s / took))


def _timed(work: Work, count: int) -> float:
    collecting = gc.isenabled()
    gc.disable()
    start = time.perf_counter()
    try:
        work(count)
        return time.perf_counter() - start
    finally:
        if collecting:
            gc.enable()
