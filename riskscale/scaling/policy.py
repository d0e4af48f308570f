"""The policy of thresholds: up where any signal is high, down where all are low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from riskscale._core.durations import integer
from riskscale.errors import ArgumentError
from riskscale.scaling.snapshot import MetricsSnapshot, ScalingAction, ScalingDecision, measure


class _Signal(NamedTuple):
    name: str
    up: float
    down: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScalingPolicy:
    """Scale by thresholds.

    Args:
        cpu_scale_up_pct, latency_scale_up_ms, failure_rate_scale_up, queue_depth_scale_up: one signal that reaches its
            threshold is enough to scale up.
        cpu_scale_down_pct, latency_scale_down_ms, failure_rate_scale_down, queue_depth_scale_down: all signals must be
            at or below theirs to scale down.
        min_replicas, max_replicas: never fewer, never more.
        hold_while_open: do not scale up while a circuit breaker upstream is open: more replicas would only wait for it.

    Raises:
        ArgumentError: a threshold is not a number of 0 or more, one to scale down is not below the one to scale up,
            or ``min_replicas`` exceeds ``max_replicas``.
    """

    cpu_scale_up_pct: float = 80
    cpu_scale_down_pct: float = 30
    latency_scale_up_ms: float = 500
    latency_scale_down_ms: float = 100
    failure_rate_scale_up: float = 0.05
    failure_rate_scale_down: float = 0.01
    queue_depth_scale_up: float = 100
    queue_depth_scale_down: float = 10
    min_replicas: int = 1
    max_replicas: int = 10
    hold_while_open: bool = False

    def __post_init__(self) -> None:
        for up, down in (
            ("cpu_scale_up_pct", "cpu_scale_down_pct"),
            ("latency_scale_up_ms", "latency_scale_down_ms"),
            ("failure_rate_scale_up", "failure_rate_scale_down"),
            ("queue_depth_scale_up", "queue_depth_scale_down"),
        ):
            for name in (up, down):
                if measure(getattr(self, name), name) is None:
                    raise ArgumentError(name, "must be a number, not None")
            if getattr(self, down) >= getattr(self, up):
                raise ArgumentError(down, f"must be below {up}")
        check_bounds(self.min_replicas, self.max_replicas)

    def evaluate(self, snapshot: MetricsSnapshot) -> ScalingDecision:
        """Decide; the same snapshot always gives the same decision.

        A signal that is absent is ignored on the way up, and forbids the way down. Without ``current_replicas`` nothing
        is done.
        """
        current = snapshot.current_replicas
        if current is None:
            return _nothing("the number of replicas is not known")
        seen = [(signal, getattr(snapshot, signal.name)) for signal in self._signals()]
        high = [f"{s.name} {value:g} >= {s.up:g}" for s, value in seen if value is not None and value >= s.up]
        if high:
            return self._up(snapshot, current, ", ".join(high))
        absent = [signal.name for signal, value in seen if value is None]
        if absent:
            return _nothing(f"not known: {', '.join(absent)}")
        above = [f"{s.name} {value:g} > {s.down:g}" for s, value in seen if value > s.down]
        if above:
            return _nothing(f"no signal is high, but not all are low: {', '.join(above)}")
        if current <= self.min_replicas:
            at_least = f"all signals are low, but there are {current} of at least {self.min_replicas} replicas"
            return _nothing(at_least, "min_replicas")
        low = ", ".join(f"{s.name} {value:g} <= {s.down:g}" for s, value in seen)
        return ScalingDecision(ScalingAction.SCALE_DOWN, low)

    def _up(self, snapshot: MetricsSnapshot, current: int, high: str) -> ScalingDecision:
        if current >= self.max_replicas:
            return _nothing(f"{high}, but there are {current} of at most {self.max_replicas} replicas", "max_replicas")
        if self.hold_while_open and snapshot.open_breakers:
            return _nothing(f"{high}, but breakers are open: {', '.join(snapshot.open_breakers)}", "open breaker")
        return ScalingDecision(ScalingAction.SCALE_UP, high)

    def _signals(self) -> tuple[_Signal, ...]:
        return (
            _Signal("cpu_usage_pct", self.cpu_scale_up_pct, self.cpu_scale_down_pct),
            _Signal("request_latency_p99_ms", self.latency_scale_up_ms, self.latency_scale_down_ms),
            _Signal("failure_rate", self.failure_rate_scale_up, self.failure_rate_scale_down),
            _Signal("queue_depth", self.queue_depth_scale_up, self.queue_depth_scale_down),
        )


def check_bounds(min_replicas: int, max_replicas: int) -> None:
    """ArgumentError unless 0 <= min <= max and max >= 1."""
    integer(min_replicas, "min_replicas", 0)
    integer(max_replicas, "max_replicas", 1)
    if min_replicas > max_replicas:
        raise ArgumentError("min_replicas", f"must not exceed max_replicas, {max_replicas}")


def _nothing(reason: str, limited_by: str = "") -> ScalingDecision:
    return ScalingDecision(ScalingAction.NO_ACTION, reason, limited_by=limited_by)
