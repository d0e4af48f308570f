"""What a breaker is in, and what it tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from riskscale._core.durations import MICRO
from riskscale.breaker.policy import Rules


class BreakerState(StrEnum):
    """``CLOSED`` lets calls pass, ``OPEN`` refuses them, ``HALF_OPEN`` lets a few try. By hand: ``DISABLED`` lets all
    pass and counts nothing, ``METRICS_ONLY`` lets all pass and counts."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    DISABLED = "disabled"
    METRICS_ONLY = "metrics_only"


ADMITTING = frozenset({BreakerState.CLOSED, BreakerState.DISABLED, BreakerState.METRICS_ONLY})


class Counts(NamedTuple):
    """Of calls: how many, how many of them failed, and how many were slow."""

    calls: int = 0
    failures: int = 0
    slow: int = 0

    def with_one(self, kind: int) -> Counts:
        """One call more, of a kind as :data:`FAILURE` and :data:`SLOW` say."""
        return Counts(self.calls + 1, self.failures + (kind & FAILURE), self.slow + (kind >> 1))


FAILURE, SLOW = 1, 2
"""The bits of a call's kind; 0 is a success in time."""
NOTHING = Counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of state.

    Attributes:
        breaker: its name.
        before: the state until then.
        after: the state from then on.
        generation: rises with every change.
        at: when, in seconds of the epoch, by the server's clock (of a local breaker: this machine's).
        by: who noticed it: a replica (host, process and a random part), or the person who forced it.
        reason: ``consecutive_failures``, ``failure_rate``, ``slow_call_rate``, ``recovery_timeout``,
            ``probes_succeeded``, ``probe_failed``, ``half_open_timeout``, ``expired``, ``restored`` (after the server
            lost it), or what the person said.
        forced: whether a person did it.
        counts: what led to it: of the window; when half-open ends, of its probes.
        lasts: seconds that the new state lasts at the least (open) or the most; 0: no such bound.
        shared: False where only this replica changed: alone, or because the server was gone.
    """

    breaker: str
    before: BreakerState
    after: BreakerState
    generation: int
    at: float
    by: str
    reason: str
    forced: bool
    counts: Counts
    lasts: float
    shared: bool


class Changed(Protocol):
    """What is known of a change."""

    @property
    def state(self) -> BreakerState: ...
    @property
    def before(self) -> BreakerState: ...
    @property
    def generation(self) -> int: ...
    @property
    def length_us(self) -> int: ...
    @property
    def forced(self) -> bool: ...
    @property
    def by(self) -> str: ...
    @property
    def counts(self) -> Counts: ...
    @property
    def reason(self) -> str: ...


def transition(of: Changed, breaker: str, at: float, *, shared: bool) -> Transition:
    """As its users see it."""
    return Transition(
        breaker=breaker,
        before=of.before,
        after=of.state,
        generation=of.generation,
        at=at,
        by=of.by,
        reason=of.reason,
        forced=of.forced,
        counts=of.counts,
        lasts=of.length_us / MICRO,
        shared=shared,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerInfo:
    """What there is to see of a breaker.

    Attributes:
        known: whether the server knows it; always of one that is not shared.
        state: what it is in; one whose time is over counts as that until somebody calls.
        remaining: seconds that are left of it; 0: over, or without an end.
        transition: how that came about; None if it was never anything else.
        opens: how often in a row it opened.
        counts: of the window, all replicas together; of the probes that have ended while it is half-open.
        probes: permits that are out.
        replicas: that reported within the last window.
        votes: how many of these find the dependency bad.
        policy: of the replica that brought the state about.
    """

    known: bool
    state: BreakerState
    remaining: float
    transition: Transition | None
    opens: int
    counts: Counts
    probes: int
    replicas: int
    votes: int
    policy: Rules | None
