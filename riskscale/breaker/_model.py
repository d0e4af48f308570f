"""The breaker in plain Python, without a clock or a socket: what a replica decides by itself, and, with ``_pool.py``,
what the scripts decide for all.

The same steps as ``lua/breaker``; times are integer microseconds, on any one clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from riskscale.breaker.policy import PARTS, Rules
from riskscale.breaker.state import ADMITTING, FAILURE, NOTHING, BreakerState, Counts
from riskscale.breaker.window import Window

MOST_OPENS = 64


def open_us(rules: Rules, opens: int, drawn: int) -> int:
    """How long it stays open for the ``opens``-th time in a row; ``drawn`` thousandths are added."""
    length = rules.open_us
    for _ in range(opens - 1):
        length = min(rules.max_open_us, length * rules.growth_pct // 100)
    return length + length * drawn // 1000


def why_to_trip(rules: Rules, run: int, counts: Counts, minimum: int) -> str:
    """The reason, '' if there is none: ``run`` failures in a row, or rates of ``minimum`` calls or more."""
    if rules.consecutive and run >= rules.consecutive:
        return "consecutive_failures"
    if counts.calls < minimum:
        return ""
    if rules.failure_ppm and counts.failures * PARTS >= rules.failure_ppm * counts.calls:
        return "failure_rate"
    if rules.slow_ppm and counts.slow * PARTS >= rules.slow_ppm * counts.calls:
        return "slow_call_rate"
    return ""


class Step(NamedTuple):
    """Who does something when, by which rules."""

    rules: Rules
    now_us: int
    by: str
    drawn: int = 0


class Known(NamedTuple):
    """What a replica knows of the state; generation 0: nothing."""

    generation: int = 0
    state: BreakerState = BreakerState.CLOSED
    remaining_us: int = 0


class Admission(NamedTuple):
    """``admitted`` 0 not, 1 with the permit, 2 without one, because it does not refuse; ``wait_us``: then ask again."""

    admitted: int
    wait_us: int = 0


@dataclass(slots=True)
class Circuit:
    """The states and how one leads to another. Every change begins a generation, and what belongs to an earlier one,
    counts and permits, is void."""

    changed: Callable[[], None] = lambda: None
    """Called after each change."""
    state: BreakerState = BreakerState.CLOSED
    before: BreakerState = BreakerState.CLOSED
    generation: int = 0
    since_us: int = 0
    length_us: int = 0
    until_us: int = 0
    """0: without an end."""
    opens: int = 0
    """How often in a row it opened without having been closed."""
    forced: bool = False
    by: str = ""
    reason: str = ""
    counts: Counts = NOTHING
    """That led to the present state."""
    policy: Rules | None = None
    """Of whoever brought that about."""
    trial: Counts = NOTHING
    """Of the probes that have ended."""
    probes: dict[str, int] = field(default_factory=dict)
    """The permits that are out, with the end of their lease."""

    def remaining_us(self, now_us: int) -> int:
        """What is left of the present state; 0 where it has no end, or is over."""
        return min(self.length_us, max(0, self.until_us - now_us))

    def settle(self, step: Step) -> None:
        """What time alone brings about."""
        self.settle_clock(step.now_us)
        if not self.until_us or self.until_us > step.now_us:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._open(step, "half_open_timeout", self.trial)
        elif self.state in ADMITTING:
            self._go(step, BreakerState.CLOSED, 0, "expired")

    def settle_clock(self, now_us: int) -> None:
        """Where the clock went back, no state lasts longer than it was to."""
        self.until_us = min(self.until_us, now_us + self.length_us)

    def probe(self, step: Step, token: str) -> Admission:
        """Ask to try, with a permit for ``token``."""
        self.settle(step)
        rules, now_us = step.rules, step.now_us
        if self.state is BreakerState.OPEN:
            if self.until_us > now_us:
                return Admission(0, self.until_us - now_us)
            self._go(step, BreakerState.HALF_OPEN, rules.half_open_us, "recovery_timeout")
        elif self.state is BreakerState.HALF_OPEN:
            self._judge(step)  # by these rules, which may be others than those of the last who came
        if self.state in ADMITTING:
            return Admission(2)
        if self.state is BreakerState.OPEN:
            return Admission(0, self.until_us - now_us)
        if token in self.probes:
            return Admission(1)
        if self.trial.calls + len(self.probes) >= rules.permits:
            self.probes = {each: end for each, end in self.probes.items() if now_us < end <= now_us + rules.probe_us}
        if self.trial.calls + len(self.probes) >= rules.permits:
            return Admission(0, min(self.probes.values()) - now_us)
        self.probes[token] = now_us + rules.probe_us
        return Admission(1)

    def finish(self, step: Step, token: str, kind: int | None) -> bool:
        """The end of a probe, None if it came to nothing; whether its permit was still good.

        A permit whose lease is over is good until somebody else gets it.
        """
        if self.probes.pop(token, None) is None:
            return False
        if kind is not None:
            self.trial = self.trial.with_one(kind)
            self._judge(step)
        return True

    def force(self, step: Step, state: BreakerState, length_us: int, reason: str) -> None:
        """Change it by hand."""
        self._go(step, state, length_us, reason, forced=True)

    def take(self, known: Known, now_us: int) -> None:
        """Become what is known of a later generation."""
        self.before, self.state, self.generation = self.state, known.state, known.generation
        self.set_end(known, now_us)
        self.opens = 0 if known.state in ADMITTING else 1
        self.trial = NOTHING
        self.probes.clear()

    def set_end(self, known: Known, now_us: int) -> None:
        """When the state ends that is known."""
        endless = not known.remaining_us and known.state in (BreakerState.CLOSED, BreakerState.HALF_OPEN)
        self.length_us, self.until_us = known.remaining_us, 0 if endless else now_us + known.remaining_us

    def _open(self, step: Step, reason: str, counts: Counts) -> None:
        self.opens = min(self.opens + 1, MOST_OPENS)
        self._go(step, BreakerState.OPEN, open_us(step.rules, self.opens, step.drawn), reason, counts)

    def _go(
        self,
        step: Step,
        state: BreakerState,
        length_us: int,
        reason: str,
        counts: Counts = NOTHING,
        *,
        forced: bool = False,
    ) -> None:
        opens = 0 if state in ADMITTING else self.opens
        self.take(Known(max(self.generation + 1, step.now_us), state, length_us), step.now_us)
        self.opens = opens
        self._note(step, reason, counts, forced)

    def _note(self, step: Step, reason: str, counts: Counts = NOTHING, forced: bool = False) -> None:
        self.since_us, self.by, self.reason = step.now_us, step.by, reason
        self.counts, self.forced = counts, forced
        if not forced:
            self.policy = step.rules
        self.changed()

    def _judge(self, step: Step) -> None:
        rules, trial = step.rules, self.trial
        too_many = max(1, rules.failure_ppm * rules.permits)
        slow = rules.slow_ppm and trial.slow * PARTS >= rules.slow_ppm * rules.permits
        if trial.failures * PARTS >= too_many or slow:
            self._open(step, "probe_failed", trial)
        elif trial.calls >= rules.permits:
            self._go(step, BreakerState.CLOSED, 0, "probes_succeeded", trial)


class Item(NamedTuple):
    """Calls of a replica that ended at about the same time."""

    age_us: int
    counts: Counts


class LocalCircuit(Circuit):
    """What one replica decides by itself, from each of its own calls."""

    def __init__(self, window: Window, changed: Callable[[], None]) -> None:
        super().__init__(changed)
        self.window = window
        self.run = 0
        """Failures in a row."""

    def record(self, rules: Rules, kind: int, now_us: int) -> str:
        """One call that was let through and has ended; why it must open now, '' if it need not."""
        state, window = self.state, self.window
        if state is not BreakerState.CLOSED and state is not BreakerState.METRICS_ONLY:
            return ""
        self.run = self.run + 1 if kind & FAILURE else 0
        window.add(kind, now_us)
        if (window.calls < rules.minimum and not kind) or state is not BreakerState.CLOSED:
            return ""  # the shortest way
        return why_to_trip(rules, self.run, window.counts(now_us), rules.minimum)

    def trip(self, step: Step, reason: str) -> None:
        """Open, for that reason."""
        self._open(step, reason, self.window.counts(step.now_us))

    def finds_it_bad(self, rules: Rules, now_us: int) -> bool:
        """Whether its own calls, however few, are as bad as the rules say."""
        counts = self.window.counts(now_us)
        return bool(why_to_trip(rules, self.run, counts, 1))

    def take(self, known: Known, now_us: int) -> None:
        """Become what is known of a later generation."""
        super().take(known, now_us)
        self.window.clear()
        self.run = 0
