"""What a policy is told, and what it answers."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from riskscale._core.durations import integer
from riskscale.errors import ArgumentError


def measure(value: float | None, argument: str, high: float = math.inf) -> float | None:
    """A measured value, 0 or more and finite, or None; ArgumentError otherwise."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(argument, f"must be a number or None, not {type(value).__name__}")
    if not math.isfinite(value) or not 0 <= value <= high:
        most = "" if math.isinf(high) else f" and at most {high:g}"
        raise ArgumentError(argument, f"must be finite, 0 or more{most}, not {value}")
    return value


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """A service at one moment; None: not known.

    Attributes:
        cpu_usage_pct: CPU, in percent of what a replica has, the mean over the replicas.
        request_latency_p99_ms: 99th percentile of the latency of requests, in milliseconds.
        failure_rate: failed requests of all, 0 to 1.
        queue_depth: requests that wait, over all replicas.
        current_replicas: replicas that run.
        open_breakers: names of circuit breakers upstream that are open.

    Raises:
        ArgumentError: a value is not a number, is negative, infinite or NaN.
    """

    cpu_usage_pct: float | None = None
    request_latency_p99_ms: float | None = None
    failure_rate: float | None = None
    queue_depth: float | None = None
    current_replicas: int | None = None
    open_breakers: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for name in ("cpu_usage_pct", "request_latency_p99_ms", "queue_depth"):
            measure(getattr(self, name), name)
        measure(self.failure_rate, "failure_rate", 1.0)
        if self.current_replicas is not None:
            integer(self.current_replicas, "current_replicas", 0)
        object.__setattr__(self, "open_breakers", texts(self.open_breakers, "open_breakers"))


def texts(values: Iterable[str], argument: str) -> tuple[str, ...]:
    """Several texts, but not one taken for its characters."""
    if isinstance(values, str):
        raise ArgumentError(argument, "must be several texts, not one")
    return tuple(values)


class ScalingAction(enum.Enum):
    """What to do with the number of replicas."""

    SCALE_UP = "scale_up"
    SCALE_DOWN = "scale_down"
    NO_ACTION = "no_action"


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """What a policy says, and why.

    Attributes:
        action: up, down, or nothing.
        reason: in words, with the figures it was decided by.
        replicas: how many there should be; None where the policy only says a direction, or knows nothing.
        raw: how many the metrics alone ask for, before any rule; None likewise.
        metric: the metric that asked for the most; "" where none decided.
        limited_by: the rule that changed or withheld what the metrics ask for; "" where none did. ``tolerance``,
            ``missing metrics``, ``stabilization``, ``scale-up policy``, ``scale-down policy``, ``max_replicas``,
            ``min_replicas``, ``open breaker``; of a :class:`riskscale.ScalingController` also ``cooldown``.
    """

    action: ScalingAction
    reason: str
    replicas: int | None = None
    raw: int | None = None
    metric: str = ""
    limited_by: str = ""
