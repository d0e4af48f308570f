"""How fast all know, and how many calls are let through meanwhile, beside what is promised."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.breakers.contenders import LIBRARIES, OURS, BreakerSettings, new_name
from benchmarks.breakers.crew import MOST, PACE, PATIENCE, POOLED, Crew, Story, Turn
from benchmarks.processes import Processes
from benchmarks.report import Row


@dataclass(frozen=True, slots=True)
class Trip:
    """Of one breaker that opened: seconds from the failure that opened it to each refusal, how many calls were let
    through meanwhile, and how many replicas never refused one."""

    delays: list[float]
    excess: int
    deaf: int = 0

    @property
    def bound(self) -> float:
        """What is promised: failures that nobody reported yet, one call each that is under way, and those that come
        until all know."""
        replicas = len(self.delays) + self.deaf
        return replicas * (POOLED.flush_failures - 1 + 1 + max(self.delays, default=PATIENCE) / PACE)


def one_fails(url: str, settings: BreakerSettings) -> list[Row]:
    """While the others are idle, and while they succeed: some libraries then count from the beginning again."""
    with Processes(url, settings.processes, Crew) as fleet:

        def open_once(turn: Turn) -> Trip | None:
            fleet.all_do("ready", turn, False)
            orders = [("lead", turn), *[("follow", turn)] * (settings.processes - 1)]
            leader, *others = fleet.each_does(orders)
            return trip(others, leader.calls[-1]) if leader.refused and len(leader.calls) < MOST else None

        bare = statistics.median(fleet.one_does("bare", settings.calls))
        return [
            _row(name, "succeed" if busy else "are idle", _trips(open_once, name, busy, settings), bare)
            for busy in (False, True)
            for name in (OURS, *LIBRARIES)
        ]


def all_fail(url: str, settings: BreakerSettings) -> list[Row]:
    """None of them sees enough: the server adds up what they report. Of ours: the others count no rate of all."""
    with Processes(url, settings.processes, Crew) as fleet:

        def open_once(turn: Turn) -> Trip | None:
            fleet.all_do("ready", turn, True)
            stories: list[Story] = fleet.all_do("fail")
            failures = sorted(at for story in stories for at in story.calls)
            enough = max(POOLED.minimum_calls - settings.processes, settings.processes)
            return trip(stories, failures[enough - 1])

        bare = statistics.median(fleet.one_does("bare", settings.calls))
        return [_row(OURS, "fail", _trips(open_once, OURS, True, settings), bare)]


def trip(stories: Sequence[Story], tripped: float) -> Trip:
    """What became of it in those replicas."""
    delays = [max(0.0, story.refused - tripped) for story in stories if story.refused is not None]
    excess = sum(at > tripped for story in stories for at in story.calls)
    return Trip(delays, excess, len(stories) - len(delays))


def _trips(
    open_once: Callable[[Turn], Trip | None], library: str, busy: bool, settings: BreakerSettings
) -> list[Trip | None]:
    count = settings.trips if library == OURS else settings.rival_trips
    return [open_once(Turn(library, new_name(), busy)) for _ in range(count)]


def _row(name: str, others: str, trips: list[Trip | None], bare: float) -> Row:
    row: Row = {"name": name, "others": others, "trips": len(trips)}
    opened = [each for each in trips if each]
    row["opened"] = len(opened)
    delays = [1000 * delay for each in opened for delay in each.delays]
    if delays:
        worst = max(opened, key=lambda each: each.excess)
        row["median_ms"] = statistics.median(delays)
        several = delays if len(delays) > 1 else 2 * delays
        row["p99_ms"] = statistics.quantiles(several, n=100, method="inclusive")[98]
        row["median_to_bare"] = row["median_ms"] / bare / 1000
        row["excess_median"] = float(statistics.median(each.excess for each in opened))
        row["excess_most"] = worst.excess
        row["bound_then"] = worst.bound
        row["within_bound"] = sum(each.excess <= each.bound for each in opened)
        row["never_refused"] = sum(each.deaf for each in opened)
    return row
