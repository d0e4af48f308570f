"""Who waited, alive and within reach, from when to when.

A vigil is a time during which a waiter was certainly in the queue and nothing hindered it. It begins with a reply that
gave a place, and ends when the lock was granted, or by the waiter's own doing, or where trouble begins: a process that
was stopped or killed, or whose beats stalled; a connection that was reset, until everything that was under way then has
its outcome, and a claim that this may have left unanswered is over; a subscription that is not there. What was passed
over in trouble is no wrong: its next vigil begins with its next reply.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.history.history import NEVER, Call, Fault, History, Worker
from tests.history.leases import CLAIM

GAP = CLAIM // 4
"""A process that beats this often claims in time what it is granted."""


class Trouble:
    """The times at which one process may be passed over: merged, in order."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in sorted(spans):
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)

    def first(self, begin: int, end: int) -> int | None:
        """When it begins between two times; None if it does not."""
        at = bisect_right(self._ends, begin)
        if at < len(self._begins) and self._begins[at] < end:
            return max(begin, self._begins[at])
        return None

    def total(self, begin: int, end: int) -> int:
        """How much of it there is between two times."""
        spans = zip(self._begins, self._ends, strict=True)
        return sum(max(0, min(end, hi) - max(begin, lo)) for lo, hi in spans)


def trouble_of(worker: Worker, faults: Sequence[Fault]) -> Trouble:
    """Of a process with all its connections, as faults and its own beats show it."""
    spans = [(one, two) for one, two in pairwise([*worker.beats, NEVER]) if two - one > GAP]
    spans += [(fault.when.lo, fault.when.hi) for fault in faults if fault.kind == "reset"]
    spans += [(fault.when.lo, NEVER) for fault in faults if fault.kind == "kill"]
    for begins, ends in (("stop", "cont"), ("stall", "flow")):
        over = [fault.when for fault in faults if fault.kind == ends]
        for begin in (fault.when.lo for fault in faults if fault.kind == begins):
            spans.append((begin, min((end.hi for end in over if end.lo >= begin), default=NEVER)))
    before = (0, worker.beats[0] if worker.beats else NEVER)
    return Trouble([before, *((lo, _settled(worker, lo, hi) + CLAIM) for lo, hi in spans)])


def _settled(worker: Worker, lo: int, hi: int) -> int:
    """When everything that was under way between two times had its outcome."""
    under_way = (call.done for call in worker.calls if call.sent <= hi and lo <= call.done < NEVER)
    return max((hi, *under_way)) if hi < NEVER else NEVER


def outages(faults: Sequence[Fault]) -> dict[str, Trouble]:
    """Of each subscription that was reset: until it is asked for again, if ever."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for fault in (fault for fault in faults if fault.box):
        if fault.kind == "reset":
            spans.setdefault(fault.box, []).append((fault.when.lo, NEVER))
        elif fault.kind == "box" and fault.box in spans:
            spans[fault.box][-1] = (spans[fault.box][-1][0], fault.when.hi)
    return {box: Trouble(each) for box, each in spans.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vigil:
    """See above. ``places``: when it was seen to wait, and how many were before it then."""

    name: str
    token: str
    worker: str
    places: tuple[tuple[int, int], ...]
    end: int
    granted: bool = False
    told: bool = False
    """Whether it had a mailbox all the time."""

    @property
    def begin(self) -> int:
        """When it began."""
        return self.places[0][0]

    @property
    def rank(self) -> int:
        """How many were before it then."""
        return self.places[0][1]


class Watchman:
    """Finds vigils."""

    def __init__(self, history: History) -> None:
        self._workers = history.workers
        by_worker: dict[str, list[Fault]] = {name: [] for name in history.workers}
        for fault in history.faults:
            by_worker.setdefault(fault.worker, []).append(fault)
        self.trouble = {name: trouble_of(each, by_worker[name]) for name, each in history.workers.items()}
        self._outages = {name: outages(each) for name, each in by_worker.items()}
        self.killed = {fault.worker for fault in history.faults if fault.kind == "kill"}

    def first_beat(self, worker: str) -> int:
        """Its first sign of life."""
        return min(self._workers[worker].beats, default=0)

    def last_beat(self, worker: str) -> int:
        """The last sign of life of a process."""
        return max(self._workers[worker].beats, default=0)

    def hindered_workers(self, begin: int, end: int) -> int:
        """How many were in trouble between two times, of those that lived then."""
        lived = (
            name for name in self._workers if self.first_beat(name) <= end and begin <= self.last_beat(name) + CLAIM
        )
        return sum(self.trouble[name].first(begin, end) is not None for name in lived)

    def vigils(self, calls: Sequence[Call]) -> Iterator[Vigil]:
        """Of one token on one lock: ``calls`` in the order in which they were sent."""
        seen: list[Call] = []  # the replies of this vigil that showed a place in the queue
        for call in (call for call in calls if not call.void):
            place = call.queued and call.sure
            if seen:
                until = (call.at or 0) if place else call.fence or call.sent
                trouble = self.hindered(seen[-1], until)
                if trouble is not None or not place:
                    granted = bool(call.fence) and trouble is None
                    yield _vigil(seen, until if trouble is None else trouble, granted=granted)
                    seen = []
            if place and (seen or self.hindered(call, call.at or 0, call.sent) is None):
                seen.append(call)
        if seen:
            alive = self.last_beat(seen[-1].worker)
            trouble = self.hindered(seen[-1], alive)
            yield _vigil(seen, alive if trouble is None else trouble)

    def hindered(self, call: Call, until: int, since: int | None = None) -> int | None:
        """When trouble began for one that had called, between then (or ``since``) and another time."""
        since = (call.at or 0) if since is None else since
        troubles = self.trouble[call.worker], self._outages[call.worker].get(call.box, Trouble([]))
        found = [at for each in troubles if (at := each.first(since, max(since, until))) is not None]
        return min(found, default=None)


def _vigil(seen: Sequence[Call], end: int, *, granted: bool = False) -> Vigil:
    places = tuple((call.at or 0, call.reply[3]) for call in seen)
    return Vigil(
        name=seen[0].name,
        token=seen[0].token,
        worker=seen[0].worker,
        places=places,
        end=max(end, places[-1][0]),
        granted=granted,
        told=all(call.box for call in seen),
    )
