"""What a fleet looks like at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from riskscale.scaling.snapshot import MetricsSnapshot
from riskscale.scaling.target import Observation, PerReplica, Total


class FleetMember(NamedTuple):
    """One replica that is alive.

    Attributes:
        replica: its name, as ``FleetMetrics.replica`` there.
        silent: seconds since its last report.
        cpu_usage_pct, queue_depth: what it said of itself; None: nothing.
    """

    replica: str
    silent: float
    cpu_usage_pct: float | None
    queue_depth: float | None


@dataclass(frozen=True, slots=True)
class FleetSnapshot(MetricsSnapshot):
    """All replicas together: what a policy is told, and what it was made of.

    Attributes:
        at: when it was read: seconds since 1970 by the clock of the hub (None: the server's).
        requests, failures: that ended within the window, in whichever replica.
        members: the replicas that are alive.

    ``current_replicas`` is None where the server knows the fleet for less than a ``ttl``: at the start, after it lost
    what it knew or heard nobody for longer than that, and after its clock went back, not every replica has reported
    yet. So it is where nobody is alive: they may be out of reach.
    """

    at: float = field(default=0.0, kw_only=True)
    requests: int = field(default=0, kw_only=True)
    failures: int = field(default=0, kw_only=True)
    members: tuple[FleetMember, ...] = field(default=(), kw_only=True)

    def observations(self) -> dict[str, Observation]:
        """For :class:`riskscale.TargetTrackingPolicy`: CPU by replica, so that its rules for missing metrics hold."""
        return {
            "cpu_usage_pct": PerReplica([each.cpu_usage_pct for each in self.members]),
            "request_latency_p99_ms": self.request_latency_p99_ms,
            "failure_rate": self.failure_rate,
            "queue_depth": None if self.queue_depth is None else Total(self.queue_depth),
        }
