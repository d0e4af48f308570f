"""From sending the release to the return of the next one's acquire, while so many contend for one lock.

Beside it stands a bare EVALSHA of as many keys and arguments by the same kind of client, after the same idle time. A
hand-over is two of them at the least: half of one to the server, half of one to the waiter, and the waiter's claim.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from ctypes import c_long
from itertools import pairwise
from typing import Any, Protocol

from benchmarks.locks import contenders
from benchmarks.locks.contenders import LockSettings
from benchmarks.locks.crowd import AWAY, HOLD, Crowd, Held, Turn
from benchmarks.locks.processes import Processes
from benchmarks.report import Row
from benchmarks.rounds import turns

TASKS = (("riskscale", False), ("redis-py", False), ("pottery", False))
THREADS = (("riskscale", True), ("python-redis-lock", True))
BARE = "bare EVALSHA"
ARRIVING = math.ceil(AWAY / HOLD)
"""Grants until all have come; they do not count."""

Subject = tuple[str, bool]
"""A library, and whether its waiters are threads rather than tasks."""


class Contest(Protocol):
    """A crowd, or processes with one each."""

    def contend(self, turn: Turn) -> list[Held]: ...
    def bare(self, threads: bool, count: int) -> list[float]: ...


def concurrent(url: str, settings: LockSettings) -> list[Row]:
    """Tasks of one event loop, through one hub."""
    grants = c_long()
    crowd = Crowd(url, grants)
    try:
        return [row for count in settings.waiters for row in _rows(crowd, grants, TASKS, 1, count, settings)]
    finally:
        crowd.close()


def processes(url: str, settings: LockSettings) -> list[Row]:
    """Processes with as many tasks, or threads, each."""
    with Processes(url, settings.processes) as several:
        each = TASKS + THREADS
        return [
            row
            for count in settings.waiters
            for row in _rows(several, several.grants, each, settings.processes, count, settings)
        ]


def _rows(
    contest: Contest, grants: Any, libraries: Sequence[Subject], processes: int, waiters: int, settings: LockSettings
) -> list[Row]:
    kinds = sorted({threads for _, threads in libraries})
    subjects = [*((BARE, threads) for threads in kinds), *libraries]
    taken: dict[Subject, list[list[float]]] = {subject: [] for subject in subjects}
    for order in turns(subjects, settings.rounds):
        for name, threads in order:
            if name == BARE:
                figures = contest.bare(threads, settings.hand_overs)
            else:
                grants.value = 0
                until = ARRIVING + settings.hand_overs
                turn = Turn(name, threads, contenders.new_name(), waiters // processes, until)
                figures = hand_overs(contest.contend(turn))[ARRIVING : until - 1]
            taken[name, threads].append(figures)
    return [
        _row(subject, waiters, figures, taken[BARE, subject[1]], several=len(kinds) > 1)
        for subject, figures in taken.items()
    ]


def hand_overs(held: list[Held]) -> list[float]:
    """Seconds between one holder's release and the next one's grant, in the order of the grants."""
    gaps = [taken - released for (_, released), (taken, _) in pairwise(sorted(held))]
    assert min(gaps) >= 0, "two held the lock at the same time"
    return gaps


def _row(subject: Subject, waiters: int, taken: list[list[float]], bare: list[list[float]], several: bool) -> Row:
    name, threads = subject
    all_taken = [figure for figures in taken for figure in figures]
    base = statistics.median(figure for figures in bare for figure in figures)
    ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(taken, bare, strict=True)]
    p99 = statistics.quantiles(all_taken, n=100, method="inclusive")[98]
    return {
        "name": f"{name}, {'threads' if threads else 'tasks'}" if several else name,
        "waiters": waiters,
        "count": len(all_taken),
        "median_ms": 1000 * statistics.median(all_taken),
        "p99_ms": 1000 * p99,
        "ratio_to_bare": statistics.median(ratios),
        "p99_to_bare": p99 / base,
    }
