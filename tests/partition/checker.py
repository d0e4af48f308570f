"""Judges what a group of processes did: pure, from the server's stamps, in microseconds; see :func:`check`."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from riskscale.partition.calls import Change

SLEW = 2000
"""How far the clock of an owner and the server's may part during a lease."""


@dataclass(slots=True)
class Journal:
    """Of one member: what it did and believed, by the server's clock.

    Attributes:
        leases: when each beat was carried out that it has a reply to.
        gives: partitions and epochs that it was about to give back; None: everything.
        beliefs: at a time after this, it counted on these epochs.
    """

    leases: list[int] = field(default_factory=list)
    gives: list[tuple[int, int] | None] = field(default_factory=list)
    beliefs: list[tuple[int, dict[int, int]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """``kill``, ``stop``, ``cont`` or ``term`` (it leaves) of one member: it had happened by ``at``."""

    kind: str
    member: str
    at: int


@dataclass(slots=True, kw_only=True)
class History:
    """Of one run; ``changes`` are all that the server told, in its order."""

    ttl: int
    changes: list[Change]
    journals: dict[str, Journal]
    faults: list[Fault]

    def stalls(self) -> list[tuple[int, int]]:
        """When members that were neither stopped nor killed did nothing, from one belief to the next."""
        found = []
        for name, journal in self.journals.items():
            stops = sorted(fault.at for fault in self.faults if fault.member == name)
            for before, after in itertools.pairwise(since for since, _ in journal.beliefs):
                if bisect_left(stops, before - SLEW) == bisect_right(stops, after):
                    found.append((before, after))
        return found


def longest(stalls: list[tuple[int, int]], since: int = 0, until: int = 1 << 62) -> int:
    """The longest of them that touches that time."""
    return max((after - before for before, after in stalls if after >= since and before <= until), default=0)


@dataclass(slots=True)
class Verdict:
    """What was found, and how much was looked at: grants, beliefs, and partitions that had nobody for a while."""

    violations: list[str] = field(default_factory=list)
    grants: int = 0
    beliefs: int = 0
    orphans: int = 0
    longest: float = 0.0
    """Seconds for which a partition had nobody, of those that had nobody because of one fault alone."""


@dataclass(slots=True)
class Grant:
    """A partition's time with one owner."""

    member: str
    epoch: int
    at: int
    freed: int | None = None


def check(history: History) -> Verdict:
    """Judge a history.

    By the server's clock no partition has two owners: it is taken when it is free, and freed when its owner gave it
    back or its lease had ended. Epochs rise. Nobody believes to own what is another's already, or was never given.
    No partition is without an owner that lives for longer than one ttl and one heartbeat.
    """
    verdict = Verdict()
    grants: dict[int, list[Grant]] = {}
    for text in _replay(history, grants):
        verdict.violations.append(text)
    verdict.grants = sum(map(len, grants.values()))
    for name, journal in history.journals.items():
        for since, owned in journal.beliefs:
            verdict.beliefs += len(owned)
            verdict.violations += list(_believed(name, since, owned, grants))
    stalls = history.stalls()
    for partition, each in grants.items():
        for before, after in itertools.pairwise(each):
            _judge_orphan(history, verdict, stalls, partition, before, after)
    return verdict


def _replay(history: History, grants: dict[int, list[Grant]]) -> Iterator[str]:
    version = None
    for change in history.changes:
        if version not in (None, change.before):
            yield f"{change.version}: a change after {version} was not told"
        version = change.version
        for partition in change.freed:
            known = grants.get(partition)
            if known and known[-1].freed is None:
                known[-1].freed = change.version
                yield from _freed_early(history, partition, known[-1])
        for partition, epoch in change.taken:
            known = grants.setdefault(partition, [])
            if known and known[-1].freed is None:
                yield f"{change.version}: {partition} went to {change.member}, and was {known[-1].member}'s"
            if known and known[-1].epoch >= epoch:
                yield f"{change.version}: the epoch of {partition} fell from {known[-1].epoch} to {epoch}"
            known.append(Grant(change.member, epoch, change.version))


def _freed_early(history: History, partition: int, grant: Grant) -> Iterator[str]:
    journal, freed = history.journals.get(grant.member), grant.freed or 0
    if journal is None or None in journal.gives or (partition, grant.epoch) in journal.gives:
        return
    end = max((at for at in journal.leases if at <= freed), default=0) + history.ttl
    if freed < end:
        yield f"{freed}: {partition} of {grant.member} was freed {end - freed} us before its lease ended"


def _believed(name: str, since: int, owned: dict[int, int], grants: dict[int, list[Grant]]) -> Iterator[str]:
    for partition, epoch in owned.items():
        known = grants.get(partition, [])
        at = next((i for i, grant in enumerate(known) if (grant.member, grant.epoch) == (name, epoch)), None)
        if at is None:
            yield f"{since}: {name} believed to own {partition} under {epoch}, which the server never said"
        elif at + 1 < len(known) and known[at + 1].at <= since - SLEW:
            late = since - known[at + 1].at
            yield f"{since}: {name} believed to own {partition} {late} us after {known[at + 1].member} took it"


def _judge_orphan(
    history: History, verdict: Verdict, stalls: list[tuple[int, int]], partition: int, before: Grant, after: Grant
) -> None:
    freed = before.freed or after.at
    since = min(freed, _dead_since(history, before.member, freed))
    others = [fault.at for fault in history.faults if fault.kind in ("kill", "stop") and since < fault.at < after.at]
    since = max([since, *others])
    lasted = after.at - since
    most = history.ttl + history.ttl // 3 + 2 * longest(stalls, since, after.at)
    verdict.orphans += 1
    if not others:
        verdict.longest = max(verdict.longest, lasted / 1e6)
    if lasted > most:
        verdict.violations.append(f"{after.at}: {partition} had nobody for {lasted} us, more than {most}")


def _dead_since(history: History, member: str, at: int) -> int:
    """When a member that was stopped or killed at that time had been; that time where it was not."""
    faults = [fault for fault in history.faults if fault.member == member and fault.at <= at]
    if not faults or faults[-1].kind not in ("kill", "stop"):
        return at
    return faults[-1].at
