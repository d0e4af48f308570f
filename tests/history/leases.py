"""Leases, as the replies of scripts show them, and what is wrong with them.

The fence of a lease is the server's time when it was granted (``lua/lock/acquire.lua``), which for one that was handed
over is before its holder heard of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.history.history import NEVER, SECOND, Call, History
from tests.history.violation import Violation

CLAIM = SECOND
"""How long a lock that was handed over waits for its new holder."""


@dataclass(slots=True, kw_only=True, eq=False)
class Lease:
    """One fence of one token. Nobody else can have had the lock from ``granted`` to ``end``, which is a lower bound."""

    name: str
    token: str
    worker: str
    fence: int
    holds: list[Call] = field(default_factory=list)
    """Calls that show it, in order."""
    granted: int = 0
    end: int = 0

    @property
    def first(self) -> int:
        """When it was shown first."""
        return self.holds[0].at or 0

    @property
    def last(self) -> int:
        """When it was shown last."""
        return self.holds[-1].at or 0


class Token:
    """All calls for one token on one lock."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.known = sorted((call for call in calls if call.at is not None), key=lambda call: call.at or 0)
        self.unsure = [call for call in calls if not call.sure and not call.void]
        """What may have been carried out at any time after it was sent."""
        self.leases = self._leases()

    def _leases(self) -> list[Lease]:
        leases: dict[int, Lease] = {}
        for call in self.known:
            if call.fence:
                new = Lease(name=call.name, token=call.token, worker=call.worker, fence=call.fence)
                leases.setdefault(call.fence, new).holds.append(call)
        for lease in leases.values():
            lease.granted = min(lease.fence, lease.first)
            lease.end = self.end(lease, NEVER)
        return list(leases.values())

    def end(self, lease: Lease, before: int) -> int:
        """Until when the lease lasted at the least, going by what was sent and shown ``before`` a time."""
        shown = [call for call in lease.holds if (call.at or 0) < before]
        last = shown[-1].at or 0
        end = last + shown[-1].ttl
        for call in self.unsure:
            if call.sent < before:
                end = min(end, max(call.sent, last) + call.ttl)  # 0 for a release
        for call in self.releases(lease, before):
            end = min(end, call.at or 0)
        return end

    def releases(self, lease: Lease, before: int) -> Iterator[Call]:
        """Those that are known to have come during the lease or after it."""
        for call in self.known:
            if call.op == "release" and call.sure and lease.granted <= (call.at or 0) < before:
                yield call

    def was_unsure(self, at: int) -> bool:
        """Whether something may have been carried out before, of which nothing is known."""
        return any(call.sent < at for call in self.unsure)


def tokens(history: History) -> dict[str, list[Token]]:
    """By name of the lock."""
    found: dict[str, list[Token]] = {}
    for name, calls in history.calls().items():
        by_token: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            by_token[call.token].append(call)
        found[name] = [Token(each) for each in by_token.values()]
    return found


def by_fence(known: Sequence[Token]) -> list[Lease]:
    """The leases of one lock."""
    return sorted((lease for token in known for lease in token.leases), key=lambda lease: (lease.fence, lease.first))


def overlaps(leases: Sequence[Lease]) -> Iterator[Violation]:
    """No lease begins before one with a lower fence has ended."""
    longest: Lease | None = None
    for lease in leases:
        if longest is not None and longest.end > lease.granted:
            text = (
                f"fence {lease.fence} was granted {longest.end - lease.granted} us before fence {longest.fence} ended"
            )
            yield Violation("overlap", lease.name, lease.granted, text)
        if longest is None or lease.end > longest.end:
            longest = lease


def falls(leases: Sequence[Lease]) -> Iterator[Violation]:
    """Fences rise strictly, in the order in which their holders were seen to hold."""
    highest: Lease | None = None
    for lease in sorted(leases, key=lambda lease: lease.first):
        if highest is not None and lease.fence <= highest.fence:
            text = f"fence {lease.fence} came after fence {highest.fence}"
            yield Violation("fence", lease.name, lease.first, text)
        if highest is None or lease.fence > highest.fence:
            highest = lease


def breaks(token: Token) -> Iterator[Violation]:
    """A lease is claimed in time, there until its end, and not after it."""
    for lease in token.leases:
        if lease.first >= lease.granted + CLAIM and not token.was_unsure(lease.first):
            yield Violation("held late", lease.name, lease.first, f"fence {lease.fence} was claimed too late")
        for call in lease.holds[1:]:
            yield from _late(token, lease, call, "was still held")
    for call in token.known:
        at = call.at or 0
        before = [lease for lease in token.leases if lease.first < at]
        if call.sure and before:
            lease = max(before, key=lambda lease: lease.fence)
            if call.refused and at < token.end(lease, at):
                text = f"{call.op} was refused although fence {lease.fence} was held"
                yield Violation("lost early", lease.name, at, text)
            if call.op == "release" and not call.refused and not list(token.releases(lease, at)):
                yield from _late(token, lease, call, "was released")


def _late(token: Token, lease: Lease, call: Call, what: str) -> Iterator[Violation]:
    at = call.at or 0
    if at >= token.end(lease, at) and not token.was_unsure(at):
        yield Violation("held late", lease.name, at, f"fence {lease.fence} {what} after its end")
