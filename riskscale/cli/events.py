"""What replicas of ``riskscale demo`` report, as lines between processes and as a history in the parent."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from typing import NamedTuple

from riskscale.cli.invariants import Run
from riskscale.cli.outage import Changed, Outage, Tried

HOLD = "hold"
"""The order to a replica: finish your runs, take one lock more, and never let go."""


class Hit(NamedTuple):
    """A request to the rate limit."""

    replica: int
    key: str
    at_us: int
    allowed: bool


class Start(NamedTuple):
    """A workflow's lock was taken. ``doomed``: held until the replica is killed."""

    replica: int
    workflow: str
    fence: int
    at_us: int
    ttl_us: int
    doomed: bool


class End(NamedTuple):
    """It was released; ``at_us`` is None where the lease had ended before."""

    replica: int
    workflow: str
    fence: int
    at_us: int | None


class Stall(NamedTuple):
    """The longest time yet that a replica was held up, by its own process or by the server."""

    replica: int
    us: int


class Failed(NamedTuple):
    """A replica cannot go on."""

    replica: int
    message: str


Event = Hit | Start | End | Tried | Changed | Stall | Failed
_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in (Hit, Start, End, Tried, Changed, Stall, Failed)}


def encode(event: Event) -> str:
    """One line."""
    return json.dumps([type(event).__name__, *event])


def decode(line: str | bytes) -> Event:
    """The event of a line."""
    kind, *fields = json.loads(line)
    return _KINDS[kind](*fields)


class History:
    """All that was reported so far."""

    def __init__(self) -> None:
        self.admitted: dict[str, list[int]] = defaultdict(list)
        self.hits: Counter[int] = Counter()
        self.allowed: Counter[int] = Counter()
        self.runs_of: Counter[int] = Counter()
        self.running: dict[int, set[str]] = defaultdict(set)
        self.outage = Outage()
        self.stall_us = 0
        self.doomed: Run | None = None
        self.failure: str | None = None
        self._runs: dict[tuple[int, str, int], Run] = {}

    @property
    def runs(self) -> list[Run]:
        """Every run, also those under way."""
        return list(self._runs.values())

    def add(self, event: Event) -> None:
        """Take in one event; those of one replica come in order."""
        match event:
            case Hit(replica, key, at_us, allowed):
                self.hits[replica] += 1
                if allowed:
                    self.allowed[replica] += 1
                    self.admitted[key].append(at_us)
            case Start(replica, workflow, fence, at_us, ttl_us, doomed):
                run = Run(workflow=workflow, replica=replica, fence=fence, start_us=at_us, ttl_us=ttl_us)
                self._runs[replica, workflow, fence] = run
                self.runs_of[replica] += 1
                self.running[replica].add(workflow)
                self.doomed = run if doomed else self.doomed
            case End(replica, workflow, fence, end_us):
                run = self._runs[replica, workflow, fence]
                self._runs[replica, workflow, fence] = replace(run, end_us=end_us)
                self.running[replica].discard(workflow)
            case Tried() | Changed():
                self.outage.add(event)
            case Stall(_, us):
                self.stall_us = max(self.stall_us, us)
            case Failed(replica, message):
                self.failure = self.failure or f"replica {replica}: {message}"
