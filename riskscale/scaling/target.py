"""Target tracking: as many replicas as keep each metric at its target, by the rules of Kubernetes' autoscaler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from riskscale._core.durations import integer, seconds
from riskscale.errors import ArgumentError
from riskscale.scaling.policy import check_bounds
from riskscale.scaling.rules import DOWN, SLACK, UP, Behavior, ScalingHistory, ceil, stabilized
from riskscale.scaling.snapshot import MetricsSnapshot, ScalingAction, ScalingDecision, measure, texts


@dataclass(frozen=True, slots=True)
class Total:
    """A metric of the whole fleet that is divided among the replicas, such as the length of a queue."""

    value: float

    def __post_init__(self) -> None:
        measure(self.value, "value")


@dataclass(frozen=True, slots=True)
class PerReplica:
    """What each replica says of a metric.

    Attributes:
        values: one a replica that is ready; None: it said nothing.
        starting: replicas that are not ready yet.
    """

    values: Sequence[float | None]
    starting: int = 0

    def __post_init__(self) -> None:
        for value in self.values:
            measure(value, "values")
        integer(self.starting, "starting", 0)


Observation: TypeAlias = float | Total | PerReplica | None
"""A plain number is a mean, the same whoever asks, such as a latency; None: not to be had."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a metric should be.

    Attributes:
        value: above 0; per replica, except for a plain number.
        missing: what a replica that said nothing counts as on the way down; None: ``value``. (Kubernetes takes 100 % of
            what was requested, for utilisation.) On the way up it counts as 0.
    """

    value: float
    missing: float | None = None

    def __post_init__(self) -> None:
        if not measure(self.value, "target"):
            raise ArgumentError("target", f"must be above 0, not {self.value}")
        measure(self.missing, "missing")


class Proposal(NamedTuple):
    """What one metric asks for, and what withheld it."""

    replicas: int
    reason: str
    limited_by: str = ""


def propose(observed: float | Total | PerReplica, target: Target, current: int, tolerance: float) -> Proposal | None:
    """The replicas that one metric asks for; None where it says nothing.

    desired = ceil(replicas * value / target), unless the ratio is within the tolerance of 1. Replicas without a value
    are taken for what hinders the change; where that would turn its direction, nothing changes.
    """
    if isinstance(observed, PerReplica):
        return _propose_per_replica(observed, target, current, tolerance)
    total = observed.value if isinstance(observed, Total) else observed * max(current, 1)
    ratio = total / max(current, 1) / target.value
    said = f"{ratio * target.value:g} for {target.value:g}"
    if current and _is_near(ratio, tolerance):
        return Proposal(current, said, "tolerance")
    return Proposal(ceil(total / target.value), said)


def _propose_per_replica(observed: PerReplica, target: Target, current: int, tolerance: float) -> Proposal | None:
    known = [value for value in observed.values if value is not None]
    silent = len(observed.values) - len(known)
    if not known:
        return None
    ratio = _ratio(known, target)
    said = f"{ratio * target.value:g} for {target.value:g} per replica"
    if _is_near(ratio, tolerance):
        return Proposal(current, said, "tolerance")
    starting = observed.starting if ratio > 1 else 0
    if not silent and not starting:
        return Proposal(ceil(sum(known) / target.value), said)
    assumed = 0.0 if ratio > 1 else target.value if target.missing is None else target.missing
    filled = [*known, *[assumed] * silent, *[0.0] * starting]
    careful, wanted = _ratio(filled, target), ceil(sum(filled) / target.value)
    turned = (ratio < 1 < careful) or (ratio > 1 > careful)
    turned = turned or (careful < 1 and wanted > current) or (careful > 1 and wanted < current)
    if turned or _is_near(careful, tolerance):
        return Proposal(current, f"{said}, {silent} silent, {observed.starting} starting", "missing metrics")
    return Proposal(wanted, f"{said}, {silent} silent, {observed.starting} starting")


def _is_near(ratio: float, tolerance: float) -> bool:
    return abs(1 - ratio) <= tolerance + SLACK


def _ratio(values: Sequence[float], target: Target) -> float:
    return sum(values) / len(values) / target.value


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTrackingPolicy:
    """As many replicas as keep each metric at its target.

    Args:
        targets: by the name of the metric: a number, or a :class:`Target`. The metric that asks for the most decides.
            Names of :class:`riskscale.MetricsSnapshot` are read from it; any other may be observed too.
        min_replicas, max_replicas: never fewer, never more.
        tolerance: a value so near its target, in parts of it, changes nothing.
        up, down: how fast, see :class:`Behavior`. Kubernetes' defaults.
        hold_while_open: do not scale up while a circuit breaker upstream is open.

    Raises:
        ArgumentError: one of these is out of range.
    """

    targets: Mapping[str, float | Target]
    min_replicas: int = 1
    max_replicas: int = 10
    tolerance: float = 0.1
    up: Behavior = UP
    down: Behavior = DOWN
    hold_while_open: bool = False
    _targets: dict[str, Target] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.targets, Mapping) or not self.targets:
            raise ArgumentError("targets", "must be a mapping of one metric or more to what it should be")
        targets = {name: value if isinstance(value, Target) else Target(value) for name, value in self.targets.items()}
        object.__setattr__(self, "_targets", targets)
        check_bounds(self.min_replicas, self.max_replicas)
        if measure(self.tolerance, "tolerance", 1.0) is None:
            raise ArgumentError("tolerance", "must be a number, not None")

    def evaluate(
        self,
        observed: MetricsSnapshot | Mapping[str, Observation],
        *,
        now: float,
        history: ScalingHistory,
        current_replicas: int | None = None,
        open_breakers: Sequence[str] = (),
    ) -> tuple[ScalingDecision, ScalingHistory]:
        """Decide; the same arguments always give the same decision.

        Args:
            observed: a snapshot (its queue depth is divided among the replicas), or observations by metric.
            now: seconds, by any clock that goes on from call to call.
            history: what the last call gave back; ``ScalingHistory()`` at first.
            current_replicas, open_breakers: as in a snapshot, for observations.

        Returns:
            The decision, and the history to give to the next call, in which the decision is taken for carried out.
        """
        if isinstance(observed, MetricsSnapshot):
            current_replicas, open_breakers = observed.current_replicas, observed.open_breakers
            observed = _observations(observed)
        open_breakers = texts(open_breakers, "open_breakers")
        if current_replicas is None:
            return ScalingDecision(ScalingAction.NO_ACTION, "the number of replicas is not known"), history
        current = integer(current_replicas, "current_replicas", 0)
        raw, metric, reason, withheld = self._raw(observed, current)
        if raw is None:
            return ScalingDecision(ScalingAction.NO_ACTION, reason, current, limited_by="missing metrics"), history
        replicas, limited_by = self._limited(raw, current, history, now, open_breakers)
        decision = _decision(current, replicas, raw, metric, reason, limited_by or withheld)
        return decision, history.after(raw, replicas - current, now, self.memory)

    def _raw(self, observed: Mapping[str, Observation], current: int) -> tuple[int | None, str, str, str]:
        """The highest proposal, its metric, its reason and its limiting rule; None where they may not be followed."""
        best: tuple[Proposal, str] | None = None
        absent = []
        for name, target in self._targets.items():
            value = observed.get(name)
            if not isinstance(value, (Total, PerReplica)):
                value = measure(value, name)
            proposal = None if value is None else propose(value, target, current, self.tolerance)
            if proposal is None:
                absent.append(name)
            elif best is None or proposal.replicas > best[0].replicas:
                best = (proposal, name)
        unknown = f"not known: {', '.join(absent)}"
        if best is None or (absent and best[0].replicas < current):  # what is not known might ask for more
            return None, "", unknown if best is None else f"{unknown}; so not fewer", "missing metrics"
        return best[0].replicas, best[1], f"{best[1]} {best[0].reason}", best[0].limited_by

    def _limited(
        self, raw: int, current: int, history: ScalingHistory, now: float, open_breakers: Sequence[str]
    ) -> tuple[int, str]:
        """The replicas that the rules admit, and the one that decided, in the order of Kubernetes."""
        replicas = stabilized(current, raw, history, now, self.up, self.down)
        limited_by = "stabilization" if replicas != raw else ""
        sign = 1 if replicas > current else -1
        behavior, side = (self.up, "scale-up") if sign > 0 else (self.down, "scale-down")
        limit = behavior.limit(current, history.changes, now, sign)
        if replicas != current and limit is not None and sign * replicas > sign * limit:
            replicas, limited_by = limit, f"{side} policy"
        if replicas > current and self.hold_while_open and open_breakers:
            replicas, limited_by = current, "open breaker"
        if replicas > self.max_replicas:
            return self.max_replicas, "max_replicas"
        if replicas < self.min_replicas:
            return self.min_replicas, "min_replicas"
        return replicas, limited_by

    @property
    def memory(self) -> float:
        """Seconds of history that decide."""
        lengths = [seconds(each.stabilization, "stabilization") for each in (self.up, self.down)]
        lengths += [seconds(policy.period, "period") for each in (self.up, self.down) for policy in each.policies]
        return max(lengths)


def _observations(snapshot: MetricsSnapshot) -> dict[str, Observation]:
    return {
        "cpu_usage_pct": snapshot.cpu_usage_pct,
        "request_latency_p99_ms": snapshot.request_latency_p99_ms,
        "failure_rate": snapshot.failure_rate,
        "queue_depth": None if snapshot.queue_depth is None else Total(snapshot.queue_depth),
    }


def _decision(current: int, replicas: int, raw: int, metric: str, reason: str, limited_by: str) -> ScalingDecision:
    action = ScalingAction.NO_ACTION
    if replicas != current:
        action = ScalingAction.SCALE_UP if replicas > current else ScalingAction.SCALE_DOWN
    said = f"{reason} asks for {raw}" + (f", {limited_by} makes it {replicas}" if limited_by else "")
    return ScalingDecision(action, said, replicas, raw, metric, limited_by)
