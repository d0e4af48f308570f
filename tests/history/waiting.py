"""Who waited, alive and within reach, from when to when, and what is wrong with it.

A vigil is a time during which a waiter was certainly in the queue and nothing hindered it. It begins with a reply that
gave a place, and ends when the lock was granted, or by the waiter's own doing, or where trouble begins: a process that
was stopped or killed, or whose beats stalled; a connection that was reset, until everything that was under way then has
its outcome, and a claim that this may have left unanswered is over; a subscription that is not there. What was passed
over in trouble is no wrong: its next vigil begins with its next reply.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.history.history import NEVER, SECOND, Attempt, Call, Fault, History, Worker
from tests.history.leases import CLAIM, Lease
from tests.history.violation import Violation

POLL = SECOND // 2
"""The longest pause of a waiter without a mailbox."""
LOOK = 10 * SECOND
"""The same with one."""
GIVE_UP = 2 * SECOND
"""What a call under way, and giving back, may add to a timeout."""
GAP = CLAIM // 4
"""A process that beats this often claims in time what it is granted."""
EXPECTED = ("held", "none", "cancelled")


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
    """See above. ``rank``: how many were before it at its begin."""

    name: str
    token: str
    worker: str
    rank: int
    begin: int
    end: int
    granted: bool = False


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
        begun: Call | None = None
        seen = calls[0]  # the last that showed a place in the queue
        for call in (call for call in calls if not call.void):
            place = call.queued and call.sure
            if begun:
                until = (call.at or 0) if place else call.fence or call.sent
                trouble = self.hindered(seen, until)
                if trouble is not None or not place:
                    end = until if trouble is None else trouble
                    yield _vigil(begun, max(end, seen.at or 0), granted=bool(call.fence) and trouble is None)
                    begun = None
            if place and begun is None and self.hindered(call, call.at or 0, call.sent) is None:
                begun = call
            seen = call if place else seen
        if begun:
            alive = max(seen.at or 0, self.last_beat(seen.worker))
            trouble = self.hindered(seen, alive)
            yield _vigil(begun, alive if trouble is None else trouble)

    def hindered(self, call: Call, until: int, since: int | None = None) -> int | None:
        """When trouble began for one that had called, between then (or ``since``) and another time."""
        since = (call.at or 0) if since is None else since
        troubles = self.trouble[call.worker], self._outages[call.worker].get(call.box, Trouble([]))
        found = [at for each in troubles if (at := each.first(since, max(since, until))) is not None]
        return min(found, default=None)


def _vigil(call: Call, end: int, *, granted: bool = False) -> Vigil:
    return Vigil(
        name=call.name,
        token=call.token,
        worker=call.worker,
        rank=call.reply[3],
        begin=call.at or 0,
        end=end,
        granted=granted,
    )


def barged(vigils: Sequence[Vigil], leases: Sequence[Lease], joined: Mapping[str, int]) -> Iterator[Violation]:
    """Of one lock: nobody who joined after the begin of a vigil is granted it before the vigil's end."""
    grants = sorted(leases, key=lambda lease: lease.granted)
    times = [lease.granted for lease in grants]
    for vigil in vigils:
        for lease in grants[bisect_right(times, vigil.begin) : bisect_left(times, vigil.end)]:
            if lease.token != vigil.token and joined[lease.token] > vigil.begin:
                text = f"fence {lease.fence} went to {lease.worker}, which had joined after {_who(vigil)}"
                yield Violation("barged", vigil.name, lease.granted, text)


def starved(vigils: Sequence[Vigil], leases: Sequence[Lease], stall: int) -> Iterator[Violation]:
    """Of one lock: a vigil is over when everybody ahead has had the lock, or left it unanswered."""
    each = max((max(lease.end - lease.granted, *(call.ttl for call in lease.holds)) for lease in leases), default=0)
    for vigil in vigils:
        most = (vigil.rank + 1) * (each + CLAIM + POLL) + stall
        if vigil.end - vigil.begin > most:
            text = f"{_who(vigil)} waited {vigil.end - vigil.begin} us, more than {most}"
            yield Violation("starved", vigil.name, vigil.end, text)


def idle(watchman: Watchman, vigils: Sequence[Vigil], leases: Sequence[Lease], stall: int) -> Iterator[Violation]:
    """Of one lock: nobody keeps vigil for long before one that nobody is seen to hold.

    Each process in trouble may hold it unseen for one lease, or leave it unanswered, once; and where a lease ended
    without a release, a waiter looks a claim later for each place before its own, even if those are dead.
    """
    grants = sorted(leases, key=lambda lease: lease.granted)
    times = [lease.granted for lease in grants]
    unseen = max((call.ttl for lease in leases for call in lease.holds), default=0)
    for vigil in vigils:
        since, in_turn = vigil.begin, min(vigil.rank * CLAIM, LOOK)
        first = max(0, bisect_right(times, since) - 1)
        for lease in (*grants[first : bisect_left(times, vigil.end)], None):
            until = lease.granted if lease else vigil.end
            most = (watchman.hindered_workers(since, until) + 1) * max(CLAIM, unseen) + in_turn + POLL + stall
            if until - since > most:
                text = f"nobody held it for {until - since} us, more than {most}, before {_who(vigil)}"
                yield Violation("idle", vigil.name, until, text)
            since = max(since, lease.end) if lease else since


def _who(vigil: Vigil) -> str:
    return f"{vigil.token} of {vigil.worker}, {vigil.rank} in the queue at {vigil.begin}"


def silent(watchman: Watchman, calls: Sequence[Call], stall: int) -> Iterator[Violation]:
    """Of one token: who is alive looks again when it was told to."""
    for call, following in pairwise([*(call for call in calls if not call.void), None]):
        if call is not None and call.queued:
            at = call.at or 0
            last = watchman.last_beat(call.worker)
            waited = (following.sent if following else last) - at
            most = call.reply[2] + stall + watchman.trouble[call.worker].total(at, at + waited)
            if waited > most:
                text = f"{call.token} of {call.worker} was silent for {waited} us, more than {most}"
                yield Violation("silent", call.name, at + waited, text)


def unended(watchman: Watchman, attempt: Attempt, stall: int) -> Iterator[Violation]:
    """An attempt ends: within its timeout, and without an error unless there is trouble."""
    trouble, last = watchman.trouble[attempt.worker], watchman.last_beat(attempt.worker)
    end = attempt.ended.lo if attempt.ended else last
    who = f"attempt {attempt.number} of {attempt.worker}, {attempt.token or 'never sent'},"
    waited = end - attempt.begun.hi
    if attempt.timeout is not None:
        most = round(attempt.timeout * SECOND) + GIVE_UP + stall + trouble.total(attempt.begun.hi, end)
        if waited > most:
            yield Violation("endless", attempt.name, end, f"{who} took {waited} us, more than {most}")
    if not attempt.ended:
        if attempt.worker not in watchman.killed:
            yield Violation("endless", attempt.name, end, f"{who} was under way when its process ended")
        return
    # A connection that was reset while nobody used it shows it to whoever uses it next.
    since = watchman.first_beat(attempt.worker) if attempt.how == "ConnectionError" else attempt.begun.lo
    if attempt.how not in EXPECTED and trouble.first(since, min(attempt.ended.hi, last)) is None:
        yield Violation("failed", attempt.name, end, f"{who} ended with {attempt.how} without a fault")
