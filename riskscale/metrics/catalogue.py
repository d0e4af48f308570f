"""Every metric of riskscale: its names here and elsewhere, its unit, its labels. The docs' table is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """``COUNTER`` only rises, ``HISTOGRAM`` is a distribution, ``GAUGE`` has a present value."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One of them.

    Attributes:
        name: what the collector is called with.
        kind: by which of its methods.
        unit: as UCUM writes it: ``s``, ``1``, or what is counted, in braces.
        labels: by name the values there are; none where they are names that users give.
        help: what it says.
        otel: its name in OpenTelemetry.
        buckets: upper bounds of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    labels: Mapping[str, tuple[str, ...]]
    help: str
    otel: str
    buckets: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus; a histogram's samples have ``_bucket``, ``_count`` and ``_sum`` behind it."""
        return f"riskscale_{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Of what takes a round trip or none, in seconds."""
LONG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Of waiting and holding."""
RATIOS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

NAMES: tuple[str, ...] = ()
"""In place of a label's values: whatever its users call things."""
HELD = ("lock", "semaphore", "election")
ACTIONS = ("scale_up", "scale_down", "no_action")
STATES = ("closed", "open", "half_open", "disabled", "metrics_only")
YES_NO = ("yes", "no")


def _counter(name: str, unit: str, otel: str, text: str, **labels: tuple[str, ...]) -> Metric:
    return Metric(name=name, kind=Kind.COUNTER, unit=unit, labels=labels, help=text, otel=f"riskscale.{otel}")


def _gauge(name: str, unit: str, otel: str, text: str, **labels: tuple[str, ...]) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, unit=unit, labels=labels, help=text, otel=f"riskscale.{otel}")


def _times(name: str, buckets: tuple[float, ...], otel: str, text: str, **labels: tuple[str, ...]) -> Metric:
    otel = f"riskscale.{otel}.duration"
    return Metric(name=name, kind=Kind.HISTOGRAM, unit="s", labels=labels, help=text, otel=otel, buckets=buckets)


_ALL = (
    _times(
        "lock_wait_seconds",
        LONG,
        "lock.wait",
        "Time to acquire a lock, a semaphore or an election, round trips included, however that ended.",
        kind=HELD,
        outcome=("acquired", "timeout", "failed", "cancelled"),
        lock=NAMES,
    ),
    _times(
        "lock_hold_seconds",
        LONG,
        "lock.hold",
        "Time for which a lock, a semaphore, an election, a place in a shared bulkhead or idempotent work was held, "
        "until it was released or known to be lost.",
        kind=(*HELD, "bulkhead", "idempotency"),
        outcome=("released", "lost"),
        lock=NAMES,
    ),
    _counter(
        "rate_decisions",
        "{decision}",
        "rate.decisions",
        "Decisions of rate limiters; degraded are those made without the server.",
        limiter=NAMES,
        outcome=("admitted", "refused", "never", "poisoned"),
        degraded=YES_NO,
    ),
    _times("rate_decision_seconds", FAST, "rate.decision", "Time of a call that decides hits.", limiter=NAMES),
    _times(
        "rate_wait_seconds", LONG, "rate.wait", "Time waited until a limiter admitted, or would not.", limiter=NAMES
    ),
    _times("rate_degraded_seconds", LONG, "rate.degraded", "Time for which the server did not answer.", limiter=NAMES),
    Metric(
        name="rate_batch_size",
        kind=Kind.HISTOGRAM,
        unit="{hit}",
        labels={},
        help="Hits that travelled in one call.",
        otel="riskscale.rate.batch.size",
        buckets=SIZES,
    ),
    _counter(
        "rate_limit_exceeded",
        "{request}",
        "rate.limit_exceeded",
        "Requests that a TenantRateLimiter refused.",
        tenant_id=NAMES,
    ),
    _counter("circuit_breaker_success", "{call}", "circuit_breaker.successes", "Calls that ended well.", breaker=NAMES),
    _counter("circuit_breaker_failure", "{call}", "circuit_breaker.failures", "Calls that failed.", breaker=NAMES),
    _counter(
        "circuit_breaker_rejected", "{call}", "circuit_breaker.rejections", "Calls that were refused.", breaker=NAMES
    ),
    _counter(
        "circuit_breaker_state_change",
        "{change}",
        "circuit_breaker.state_changes",
        "Changes of a breaker's state as this process saw them, by the new state.",
        breaker=NAMES,
        state=STATES,
    ),
    _gauge(
        "circuit_breaker_state",
        "1",
        "circuit_breaker.state",
        "1 for the state that a breaker is in, 0 for those it was in.",
        breaker=NAMES,
        state=STATES,
    ),
    _gauge(
        "bulkhead_running", "{task}", "bulkhead.running", "Tasks that run in a bulkhead.", bulkhead=NAMES, shared=YES_NO
    ),
    _gauge(
        "bulkhead_waiting",
        "{task}",
        "bulkhead.waiting",
        "Tasks that wait for a bulkhead.",
        bulkhead=NAMES,
        shared=YES_NO,
    ),
    _gauge(
        "bulkhead_limit", "{task}", "bulkhead.limit", "Tasks that may run in a bulkhead.", bulkhead=NAMES, shared=YES_NO
    ),
    _counter("bulkhead_rejected", "{task}", "bulkhead.rejections", "Tasks refused by a full bulkhead.", bulkhead=NAMES),
    _counter(
        "bulkhead_lost",
        "{task}",
        "bulkhead.losses",
        "Tasks that ended after their place in a shared bulkhead was lost.",
        bulkhead=NAMES,
    ),
    _times("bulkhead_wait_seconds", LONG, "bulkhead.wait", "Time waited for a place in a bulkhead.", bulkhead=NAMES),
    _gauge("partitions_owned", "{partition}", "partition.owned", "Partitions that this process owns.", group=NAMES),
    _counter(
        "partitions_lost",
        "{partition}",
        "partition.losses",
        "Partitions whose lease ended before they were handed over.",
        group=NAMES,
    ),
    _counter(
        "scaling_decisions",
        "{decision}",
        "scaling.decisions",
        "Decisions of a ScalingController, by the leader alone.",
        group=NAMES,
        action=ACTIONS,
    ),
    _gauge(
        "scaling_replicas",
        "{replica}",
        "scaling.replica.present",
        "Replicas that the leader's last decision saw.",
        group=NAMES,
    ),
    _gauge(
        "scaling_replicas_wanted",
        "{replica}",
        "scaling.replica.wanted",
        "Replicas that it wants; none of a policy that says no number.",
        group=NAMES,
    ),
    _counter(
        "scaling_apply_failures",
        "{failure}",
        "scaling.apply.failures",
        "Decisions that could not be applied.",
        group=NAMES,
    ),
    _counter(
        "idempotency_begins",
        "{attempt}",
        "idempotency.begins",
        "Attempts of idempotent work, by what was found.",
        guard=NAMES,
        outcome=("new", "in_progress", "replay", "mismatch"),
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""By the name that a collector is called with."""

SUFFIXES = {"_seconds": ("s", ".duration", LONG), "_bytes": ("By", ".size", SIZES), "_ratio": ("1", ".ratio", RATIOS)}
"""What the end of a name says: its unit, its end in OpenTelemetry, and bounds of buckets."""


def unknown(kind: Kind, name: str, labels: Iterable[str]) -> Metric:
    """One that is not in the table, or goes by another method there: its labels are those of its first event."""
    clean = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")[:128].removesuffix("_total") or "unnamed"
    if clean in METRICS:
        clean = f"{clean}_{kind}"
    end = next((end for end in SUFFIXES if clean.endswith(end)), "")
    unit, otel, buckets = SUFFIXES.get(end, ("1", "", LONG))
    return Metric(
        name=clean,
        kind=kind,
        unit=unit,
        labels=dict.fromkeys(labels, NAMES),
        help=f"{name!r}, which riskscale does not know.",
        otel=f"riskscale.{clean.removesuffix(end)}{otel}",
        buckets=buckets,
    )
