"""What it costs to count one event: the hub's meter and our exporters, beside the client library alone.

``python -m benchmarks.metrics``
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Sequence

import prometheus_client
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from benchmarks.report import Row, table
from benchmarks.rounds import Settings, Work, ratio, seconds_per_operation
from riskscale import OpenTelemetryMetrics, PrometheusMetrics
from riskscale._core.meter import Meter
from riskscale.metrics.catalogue import LONG
from riskscale.typing import MetricsCollector

BASE = "prometheus-client: labels().inc()"
LABELS = {"limiter": "api", "outcome": "admitted", "degraded": "no"}


def events(settings: Settings) -> list[Row]:
    """One row for each kind of event and each collector."""
    works = {
        **_bare(),
        **_ours("PrometheusMetrics", PrometheusMetrics(prometheus_client.CollectorRegistry())),
        **_tenants(),
        **_ours("OpenTelemetryMetrics, no SDK", OpenTelemetryMetrics()),
        **_ours("OpenTelemetryMetrics and SDK", OpenTelemetryMetrics(_provider())),
    }
    taken = seconds_per_operation(works, settings)
    return [
        {
            "event": name,
            "us": statistics.median(seconds) * 1e6,
            "us_least": min(seconds) * 1e6,
            "ratio_to_bare": ratio(seconds, taken[BASE]),
        }
        for name, seconds in taken.items()
    ]


def _provider() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()])


def _bare() -> dict[str, Work]:
    """What users write without us: labels by name, as there is no order to remember."""
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter("bare", "bare", list(LABELS), registry=registry)
    histogram = prometheus_client.Histogram("times", "bare", ["kind"], registry=registry, buckets=LONG)
    sdk = _provider().get_meter("bare").create_counter("bare")
    return {
        BASE: _times(lambda: counter.labels(**LABELS).inc()),
        "prometheus-client: labels().observe()": _times(lambda: histogram.labels(kind="lock").observe(0.001)),
        "OpenTelemetry's SDK: add()": _times(lambda: sdk.add(1, LABELS)),
    }


def _ours(name: str, collector: MetricsCollector) -> dict[str, Work]:
    meter = Meter(collector)
    return {
        f"{name}: increment": _times(lambda: meter.increment("rate_decisions", **LABELS)),
        f"{name}: observe": _times(
            lambda: meter.observe("lock_wait_seconds", 0.001, kind="lock", outcome="acquired", lock="a")
        ),
        f"{name}: gauge": _times(lambda: meter.gauge("bulkhead_running", 3, bulkhead="db", shared="no")),
    }


def _tenants() -> dict[str, Work]:
    """Left out, and the busiest 20 of a million, of whom a tenth of the events is of one."""
    dropped = Meter(PrometheusMetrics(prometheus_client.CollectorRegistry()))
    top = Meter(PrometheusMetrics(prometheus_client.CollectorRegistry(), top={"tenant_id": 20}))
    tenants = itertools.cycle([f"t{number % 1_000_000 if number % 10 else 0}" for number in range(1_111_111)])
    return {
        "PrometheusMetrics, tenants left out": _times(
            lambda: dropped.increment("rate_limit_exceeded", tenant_id=next(tenants))
        ),
        "PrometheusMetrics, the busiest 20 tenants": _times(
            lambda: top.increment("rate_limit_exceeded", tenant_id=next(tenants))
        ),
    }


def _times(event: Callable[[], object]) -> Work:
    def work(count: int) -> None:
        for _ in itertools.repeat(None, count):
            event()

    return work


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description="what an event costs")
    parser.add_argument("--short", action="store_true", help="some seconds, rough figures")
    settings = Settings.short() if parser.parse_args(arguments).short else Settings(slice_s=0.05)
    print(table("one event, in microseconds", events(settings)))


if __name__ == "__main__":
    main()
