"""What is wrong with how long somebody waited, or with who was served before; see :mod:`tests.history.vigils`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tests.history.history import SECOND, Attempt, Call
from tests.history.leases import CLAIM, Lease
from tests.history.vigils import Vigil, Watchman
from tests.history.violation import Violation

POLL = SECOND // 2
"""The longest pause of a waiter without a mailbox."""
LOOK = 10 * SECOND
"""The same with one."""
GIVE_UP = 2 * SECOND
"""What a call under way, and giving back, may add to a timeout."""
UNSURE = 3 * SECOND
"""After which it is carried out no more what was sent before a fault."""
EXPECTED = ("held", "none", "cancelled")


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


def demoted(vigils: Sequence[Vigil]) -> Iterator[Violation]:
    """Nobody who keeps vigil falls back in the queue."""
    for vigil in vigils:
        for (_, before), (at, rank) in pairwise(vigil.places):
            if rank > before:
                text = f"{_who(vigil)} fell back from {before} to {rank}"
                yield Violation("demoted", vigil.name, at, text)


def dawdled(vigils: Sequence[Vigil], leases: Sequence[Lease], calls: Sequence[Call]) -> Iterator[Violation]:
    """Of one lock: a release hands it to one of those who can be told, if there are any.

    So the next lease begins with a release, this one or that of somebody who was handed it and gave it back; or when
    a claim is over.
    """
    releases = {call.at or 0: call for call in calls if call.op == "release" and call.sure}
    unsure = sorted(call.sent for call in calls if not call.sure and not call.void)
    times = sorted(lease.granted for lease in leases)
    for vigil in (vigil for vigil in vigils if vigil.told):
        for at in (at for at, call in releases.items() if vigil.begin < at < vigil.end and not call.refused):
            following = bisect_left(times, at)
            if following == len(times) or times[following] in releases:
                continue
            if vigil.end < times[following] or times[following] >= at + CLAIM:
                continue
            if bisect_left(unsure, at - UNSURE) == bisect_left(unsure, times[following]):
                text = f"it was free for {times[following] - at} us before {_who(vigil)}"
                yield Violation("dawdled", vigil.name, at, text)


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
