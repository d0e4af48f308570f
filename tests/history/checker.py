"""Judges a history: pure, from stamps of the server; see :func:`check`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.history.history import SECOND, Call, Fault, History, Left
from tests.history.leases import Lease, Token, breaks, by_fence, falls, overlaps, tokens
from tests.history.violation import Violation
from tests.history.waiting import Vigil, Watchman, barged, idle, silent, starved, unended

SLEW = SECOND // 500
"""How far the clock of a holder and the server's may part during a lease."""
QUEUE_LIFE_MS = 90_000
LOCK_LIFE_MS = 60_000


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What was found, and how much was looked at.

    ``judged``: grants that were made while somebody else was certainly waiting, alive and within reach.
    ``waits``: seconds from asking for a lock until it was held, of those who waited, in order.
    """

    violations: list[Violation]
    grants: int
    judged: int
    waits: list[float]
    ends: dict[str, int]


def check(history: History) -> Verdict:
    """Judge a history.

    Leases of one lock never overlap, and are there until their end; fences rise strictly; nobody who joined the queue
    later is granted before one who was there, alive and within reach all the time; whoever waits is served when those
    ahead of it have been, is not kept waiting before a lock that nobody holds, and looks when it was told to; attempts
    end, and not with an error unless there was a fault; what holders were told and believe agrees with the server; at
    the end nothing is left that should not be.
    """
    watchman = Watchman(history)
    known = tokens(history)
    leases = {name: by_fence(each) for name, each in known.items()}
    vigils = {name: list(_vigils(watchman, calls)) for name, calls in history.calls().items()}
    found: list[Violation] = []
    for name, each in leases.items():
        found += [*overlaps(each), *falls(each)]
        found += barged(vigils[name], each, _joined(history.calls()[name]))
        found += starved(vigils[name], each, history.stall)
        found += idle(watchman, vigils[name], each, history.stall)
        for token in known[name]:
            found += breaks(token)
    for calls in history.calls().values():
        for one in _by_token(calls).values():
            found += silent(watchman, one, history.stall)
    for attempt in history.attempts():
        found += unended(watchman, attempt, history.stall)
    found += [*_said(history, leases, known), *_left(history, watchman)]
    return Verdict(
        violations=sorted(found, key=lambda violation: violation.at),
        grants=sum(map(len, leases.values())),
        judged=sum(_judged(vigils[name], each) for name, each in leases.items()),
        waits=sorted(_waits(history)),
        ends=_ends(history),
    )


def _by_token(calls: Sequence[Call]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in calls:
        found.setdefault(call.token, []).append(call)
    return found


def _vigils(watchman: Watchman, calls: Sequence[Call]) -> Iterator[Vigil]:
    for one in _by_token(calls).values():
        yield from watchman.vigils(one)


def _joined(calls: Sequence[Call]) -> dict[str, int]:
    """When each token may have joined the queue at the earliest, or got the lock without."""
    found: dict[str, int] = {}
    for call in calls:
        if call.op == "acquire" and not call.void:
            at = call.at if call.at is not None and call.sure else call.sent
            found[call.token] = min(found.get(call.token, at), at)
    return found


def _said(
    history: History, leases: Mapping[str, Sequence[Lease]], known: Mapping[str, Sequence[Token]]
) -> Iterator[Violation]:
    """What holders were told is what the server replied; who believes to hold it is not followed by another yet."""
    seen = {
        (name, call.token, call.fence or "released", call.at)
        for name, each in known.items()
        for token in each
        for call in token.known
    }
    for said in (said for worker in history.workers.values() for said in worker.said):
        who = f"fence {said.fence} of {said.worker}"
        if said.what != "believes":
            what = "released" if said.what == "released" else said.fence
            if (said.name, said.token, what, said.at) not in seen:
                yield Violation("told", said.name, said.at, f"{who} was {said.what}, which the server never said")
            continue
        each = leases.get(said.name, ())
        following = bisect_right(each, said.fence, key=lambda lease: lease.fence)
        if following < len(each) and each[following].granted <= said.at - SLEW:
            text = f"{who} was believed to be held {said.at - each[following].granted} us after the next one began"
            yield Violation("belief", said.name, said.at, text)


def _left(history: History, watchman: Watchman) -> Iterator[Violation]:
    """Nobody holds, only those whose end is unknown wait, and all of it goes by itself, in time."""
    calls = [call for worker in history.workers.values() for call in worker.calls]
    unknown = {call.token for call in calls if not (call.sure or call.void) or call.worker in watchman.killed}
    longest = max((call.ttl for call in calls), default=0) // 1000
    end = max((call.at or 0 for call in calls), default=0)
    for left in history.left:
        for text in _wrongs(left, unknown, max(longest, LOCK_LIFE_MS)):
            yield Violation("left", "", end, f"{left.key} {text}")


def _wrongs(left: Left, unknown: set[str], lock_life_ms: int) -> Iterator[str]:
    most = {"lock": lock_life_ms, "queue": QUEUE_LIFE_MS, "wait": QUEUE_LIFE_MS}.get(left.key.rpartition(":")[2], 0)
    if left.life_ms < 0:
        yield "stays for ever"
    elif left.life_ms > most:
        yield f"stays for {left.life_ms} ms, longer than {most}"
    if left.holder:
        yield f"is held by {left.holder}"
    if waiting := set(left.tokens) - unknown:
        yield f"has waiters that were gone: {', '.join(sorted(waiting))}"


def _judged(vigils: Sequence[Vigil], leases: Sequence[Lease]) -> int:
    """Sweeps over both in time."""
    marks = [(vigil.begin, 1) for vigil in vigils] + [(vigil.end, -1) for vigil in vigils]
    marks += [(lease.granted, 0) for lease in leases]
    waiting, judged = 0, 0
    for _, mark in sorted(marks):
        waiting += mark
        judged += mark == 0 and waiting > 0
    return judged


def _waits(history: History) -> Iterator[float]:
    for attempt in history.attempts():
        if attempt.how == "held" and attempt.timeout != 0 and attempt.ended:
            yield (attempt.ended.lo - attempt.begun.lo) / SECOND


def _ends(history: History) -> dict[str, int]:
    found: dict[str, int] = {}
    for attempt in history.attempts():
        found[attempt.how] = found.get(attempt.how, 0) + 1
    return found


def around(violation: Violation, history: History, span: int = SECOND) -> list[str]:
    """What happened to that lock, and to everybody, shortly before and after."""
    lines: list[tuple[int, str]] = []
    for call in (call for worker in history.workers.values() for call in worker.calls):
        at = call.at if call.at is not None else call.sent
        if violation.name in ("", call.name) and abs(at - violation.at) <= span:
            outcome = list(call.reply) if call.at is not None else call.error or "no reply"
            lines.append((at, f"{call.worker} {call.op} {call.token[:8]} tries={call.tries} {outcome}"))
    lines += [(each.when.lo, _fault(each)) for each in history.faults if abs(each.when.lo - violation.at) <= span]
    return [f"{(at - violation.at) / 1000:+9.1f} ms  {text}" for at, text in sorted(lines)]


def _fault(fault: Fault) -> str:
    return f"-- {fault.kind} {fault.worker} {fault.box[-8:]}".rstrip()
