"""The fleet's script calls: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from riskscale._core.call import Arg, Call, text
from riskscale._core.durations import MICRO
from riskscale.fleet.outbox import Batch
from riskscale.fleet.snapshot import FleetMember, FleetSnapshot

P99_PPM = 990_000
PPM_PER_PERCENT = 10_000


@dataclass(frozen=True, slots=True)
class FleetKeys:
    """The two keys of one group, in one cluster slot."""

    replicas: bytes
    window: bytes

    @classmethod
    def of(cls, base: str) -> FleetKeys:
        """From the part of the key before its role."""
        return cls(f"{base}:fleet".encode(), f"{base}:fleet-window".encode())

    @property
    def all(self) -> tuple[bytes, ...]:
        """In the order of KEYS."""
        return self.replicas, self.window


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a silent replica is alive, and how long the window is."""

    ttl_us: int
    window_us: int


def report(keys: FleetKeys, replica: str, terms: Terms, batch: Batch, age_us: int) -> Call[bool]:
    """Tell of one replica. The reply: whether it was new."""
    counts = batch.counts or {0: 0}
    args: tuple[Arg, ...] = (
        replica,
        batch.sequence,
        terms.ttl_us,
        terms.window_us,
        age_us,
        "" if batch.cpu_ppm is None else batch.cpu_ppm,
        "" if batch.queue is None else batch.queue,
        int(batch.observes),
        int(batch.leaves),
        batch.failures,
        *(word for pair in counts.items() for word in pair),
    )
    return Call("fleet.report", keys.all, args, lambda reply: reply[1] == 1)


def snapshot(keys: FleetKeys, terms: Terms) -> Call[FleetSnapshot]:
    """Look at all."""
    args = (terms.window_us, P99_PPM)
    return Call("fleet.snapshot", keys.all, args, lambda reply: _snapshot(reply, terms))


def _snapshot(reply: Sequence[Any], terms: Terms) -> FleetSnapshot:
    at_us, requests, failures, p99_us, observing, kept_us, *rest = reply
    members = tuple(_member(*rest[i : i + 4]) for i in range(0, len(rest), 4))
    cpu = [each.cpu_usage_pct for each in members if each.cpu_usage_pct is not None]
    queues = [each.queue_depth for each in members if each.queue_depth is not None]
    idle = 0.0 if observing else None  # where all is told, nothing told means that there was nothing
    return FleetSnapshot(
        cpu_usage_pct=fmean(cpu) if cpu else None,
        request_latency_p99_ms=p99_us / 1000 if requests else idle,
        failure_rate=min(1.0, failures / requests) if requests else idle,
        queue_depth=sum(queues) if queues else None,
        current_replicas=len(members) if members and kept_us >= terms.ttl_us else None,
        at=at_us / MICRO,
        requests=requests,
        failures=failures,
        members=members,
    )


def _member(name: Any, silent_us: int, cpu_ppm: int, queue: int) -> FleetMember:
    cpu = None if cpu_ppm < 0 else cpu_ppm / PPM_PER_PERCENT
    return FleetMember(text(name), silent_us / MICRO, cpu, None if queue < 0 else queue)
