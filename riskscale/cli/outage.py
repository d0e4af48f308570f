"""The failing dependency of ``riskscale demo``: what replicas report of it, and what must hold. Pure.

Times are seconds of the machine's monotonic clock, which its processes share: what is judged is when a replica knew.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from riskscale.breaker.shared import ANSWER_US
from riskscale.breaker.state import BreakerState
from riskscale.cli.invariants import Check

BREAK = "break"
"""The order to a replica: the dependency fails you until the breaker refuses you."""


class Tried(NamedTuple):
    """A call of the dependency. ``failed`` is None where the breaker refused it; ``probe``: with a permit to try."""

    replica: int
    failed: bool | None
    probe: bool
    at: float


class Changed(NamedTuple):
    """A replica's breaker changed; ``shared``: with all the others, not by its own decision."""

    replica: int
    state: BreakerState
    shared: bool
    at: float


class Outage:
    """What became of it so far."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.failures: Counter[int] = Counter()
        self.states: dict[int, BreakerState] = {}
        self.failed_at = 0.0
        """When it failed the last time."""
        self.probes: list[int] = []
        """By which replica."""
        self.alone = 0
        """How often a replica let itself try, while the server was silent."""
        self.first: dict[BreakerState, dict[int, float]] = {state: {} for state in BreakerState}
        """When each replica's breaker came to be in each state."""

    def add(self, event: Tried | Changed) -> None:
        """Take in one event; those of one replica come in order."""
        match event:
            case Tried(replica, failed, probe, at):
                self.states.setdefault(replica, BreakerState.CLOSED)
                self.calls[replica] += 1
                self.refused[replica] += failed is None
                self.probes += [replica] if probe else []
                if failed:
                    self.failures[replica] += 1
                    self.failed_at = at
            case Changed(replica, state, shared, at):
                self.states[replica] = BreakerState(state)
                self.first[BreakerState(state)].setdefault(replica, at)
                self.alone += state == BreakerState.HALF_OPEN and not shared

    def is_over(self, replicas: int) -> bool:
        """Whether the breaker has closed again for as many."""
        return len(self.first[BreakerState.CLOSED]) >= replicas

    @property
    def open_after(self) -> float:
        """From the failure that opened it until the last replica was open; seconds."""
        return max(self.first[BreakerState.OPEN].values(), default=self.failed_at) - self.failed_at

    @property
    def closed_after(self) -> float:
        """From the first replica's closing to the last one's; seconds."""
        closed = self.first[BreakerState.CLOSED].values()
        return max(closed, default=0.0) - min(closed, default=0.0)

    def checks(self, replicas: int, refresh: float, stall_us: int) -> list[Check]:
        """A replica knows by a push, else by its next report; on the way there and back its process, or the server, may
        stand still."""
        bound = refresh + 2 * stall_us / 1e6
        failed = ", ".join(f"{times} in replica {number}" for number, times in sorted(self.failures.items())) or "none"
        all_open = self._for_all(BreakerState.OPEN, replicas, self.open_after, bound)
        all_closed = self._for_all(BreakerState.CLOSED, replicas, self.closed_after, bound)
        return [
            Check("failures in one open all", len(self.failures) == 1 and all_open.ok, f"{failed}; {all_open.detail}"),
            self._one_probe(stall_us),
            Check("that success closes all", all_closed.ok, all_closed.detail),
        ]

    def _for_all(self, state: BreakerState, replicas: int, took: float, bound: float) -> Check:
        count = len(self.first[state])
        last = f"the last after {1000 * took:.1f} ms (at the most {1000 * bound:.0f} ms)"
        return Check("", count == replicas and took <= bound, f"{count} of {replicas} {state}, {last}")

    def _one_probe(self, stall_us: int) -> Check:
        count = len(self.probes)
        alone = f", {self.alone} of them alone: the server was silent" if self.alone else ""
        ok = 1 <= count <= 1 + self.alone and (not self.alone or stall_us >= ANSWER_US)
        who = f"1 call, by replica {self.probes[0]}" if count == 1 else f"{count} calls"
        return Check("half-open, all together try once", ok, who + alone)
