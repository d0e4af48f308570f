"""How fast a number of replicas may change: Kubernetes' scaling behaviour, pure; history and now are arguments.

Source: the HorizontalPodAutoscaler's `behavior` (KEP-853, autoscaling/v2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from riskscale._core.durations import Duration, integer, seconds
from riskscale.errors import ArgumentError

SLACK = 1e-9
"""What an error of floating point may come to: 3.0000000000000004 replicas are 3."""


def ceil(value: float) -> int:
    """The least whole number that is not below ``value``, but for an error of floating point."""
    return math.ceil(value - SLACK)


@dataclass(frozen=True, slots=True)
class Pods:
    """At most ``count`` replicas more, or fewer, within ``period`` seconds."""

    count: int
    period: Duration

    def __post_init__(self) -> None:
        integer(self.count, "count", 1)
        check_period(self.period)

    def allowed(self, start: int, sign: int) -> int:
        """The most extreme number of replicas, from ``start`` at the period's beginning."""
        return start + sign * self.count


@dataclass(frozen=True, slots=True)
class Percent:
    """At most ``percent`` of the replicas more, or fewer, within ``period`` seconds."""

    percent: float
    period: Duration

    def __post_init__(self) -> None:
        if isinstance(self.percent, bool) or not isinstance(self.percent, (int, float)):
            raise ArgumentError("percent", f"must be a number, not {type(self.percent).__name__}")
        if not 0 < self.percent < math.inf:
            raise ArgumentError("percent", f"must be above 0 and finite, not {self.percent}")
        check_period(self.period)

    def allowed(self, start: int, sign: int) -> int:
        """As of :class:`Pods`. Both directions get the larger change, so that one replica can become two, or none."""
        whole = start * (100 + sign * self.percent) / 100
        return ceil(whole) if sign > 0 else math.floor(whole + SLACK)


def check_period(period: Duration) -> None:
    """ArgumentError unless it is above 0."""
    if seconds(period, "period") == 0:
        raise ArgumentError("period", "must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """One direction.

    Args:
        stabilization: seconds of which the most cautious recommendation counts: the highest on the way down, the lowest
            on the way up. 0: the present one.
        policies: bounds of change.
        select: which of several bounds counts: ``"max"`` the widest, ``"min"`` the narrowest; ``"disabled"``: no change
            in this direction at all.

    Raises:
        ArgumentError: one of these is malformed.
    """

    stabilization: Duration = 0
    policies: Sequence[Pods | Percent] = ()
    select: Literal["max", "min", "disabled"] = "max"

    def __post_init__(self) -> None:
        seconds(self.stabilization, "stabilization")
        object.__setattr__(self, "policies", tuple(self.policies))
        if not all(isinstance(each, (Pods, Percent)) for each in self.policies):
            raise ArgumentError("policies", "must be Pods and Percent")
        if self.select not in ("max", "min", "disabled"):
            raise ArgumentError("select", f"must be max, min or disabled, not {self.select!r}")

    def limit(self, current: int, changes: Iterable[Change], now: float, sign: int) -> int | None:
        """The most replicas (``sign`` 1), or the fewest (-1), that the policies admit now; None: any number."""
        if self.select == "disabled":
            return current
        if not self.policies:
            return None
        events = list(changes)
        proposals = []
        for policy in self.policies:
            begin = now - seconds(policy.period, "period")
            start = current - sum(change.by for change in events if change.at > begin)
            proposals.append(policy.allowed(start, sign))
        widest: Callable[[list[int]], int] = max if (self.select == "max") == (sign > 0) else min
        limit = widest(proposals)
        return max(limit, current) if sign > 0 else min(limit, current)


UP = Behavior(policies=(Pods(4, 15), Percent(100, 15)))
"""Kubernetes' default on the way up: at once, by 4 replicas or 100 % per 15 s, whichever is more."""
DOWN = Behavior(stabilization=300, policies=(Percent(100, 15),))
"""On the way down: the highest recommendation of 5 minutes, then all at once."""


class Recommendation(NamedTuple):
    """What the metrics asked for."""

    at: float
    replicas: int


class Change(NamedTuple):
    """By how much the number of replicas was changed."""

    at: float
    by: int


@dataclass(frozen=True, slots=True)
class ScalingHistory:
    """What :class:`riskscale.TargetTrackingPolicy` remembers: it is given, and given back, never kept."""

    recommendations: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()

    def after(self, recommended: int, by: int, now: float, keep: float) -> ScalingHistory:
        """The last ``keep`` seconds of it, with one more recommendation, and a change unless ``by`` is 0."""
        recommendations = [each for each in self.recommendations if each.at > now - keep]
        changes = [each for each in self.changes if each.at > now - keep]
        if by:
            changes.append(Change(now, by))
        return ScalingHistory((*recommendations, Recommendation(now, recommended)), tuple(changes))


def stabilized(current: int, raw: int, history: ScalingHistory, now: float, up: Behavior, down: Behavior) -> int:
    """The recommendation nearest to ``current`` of those that count: no flapping, and no shrinking in a dip."""

    def recent(behavior: Behavior) -> list[int]:
        begin = now - seconds(behavior.stabilization, "stabilization")
        return [raw, *(each.replicas for each in history.recommendations if each.at > begin)]

    return min(max(current, min(recent(up))), max(recent(down)))
