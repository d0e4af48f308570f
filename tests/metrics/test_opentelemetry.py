"""What OpenTelemetry's SDK exports of what it is told."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import riskscale
from riskscale import (
    AcquireTimeout,
    ArgumentError,
    BulkheadExecutor,
    Hub,
    Limit,
    Lock,
    OpenTelemetryMetrics,
    RateLimiter,
)
from riskscale.metrics import METRICS, Kind
from tests.metrics.conftest import points


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracers(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


def test_names_units_and_kinds(reader: InMemoryMetricReader) -> None:
    metrics = OpenTelemetryMetrics(MeterProvider([reader]))
    tell = {Kind.COUNTER: metrics.increment, Kind.HISTOGRAM: metrics.observe, Kind.GAUGE: metrics.gauge}
    for metric in METRICS.values():
        tell[metric.kind](metric.name, 1, **dict.fromkeys(metric.labels, "x"))
    found = points(reader)
    kinds = {Kind.COUNTER: "Sum", Kind.HISTOGRAM: "Histogram", Kind.GAUGE: "Gauge"}
    assert len(found) == len(METRICS)
    for metric in METRICS.values():
        exported = found[metric.otel]
        assert (exported.unit, exported.description) == (metric.unit, metric.help)
        assert type(exported.data).__name__ == kinds[metric.kind]
        (point,) = exported.data.data_points
        assert set(point.attributes) == {f"riskscale.{label}" for label in metric.labels} - {
            "riskscale.tenant_id",
            "riskscale.lock",
        }
        if metric.kind is Kind.HISTOGRAM:
            assert point.explicit_bounds == metric.buckets
        assert metric.otel.endswith(".duration") == (metric.unit == "s")


def test_unknown_names(reader: InMemoryMetricReader) -> None:
    metrics = OpenTelemetryMetrics(MeterProvider([reader]))
    metrics.observe("my own/work_seconds", 2, who="me")
    metrics.observe("sent_bytes", 10)
    metrics.gauge("cpu_ratio", 0.5)
    metrics.increment("ß" * 300)
    found = points(reader)
    assert {name: metric.unit for name, metric in found.items()} == {
        "riskscale.my_own_work.duration": "s",
        "riskscale.sent.size": "By",
        "riskscale.cpu.ratio": "1",
        "riskscale.unnamed": "1",
    }


async def test_a_wait_becomes_a_span_of_its_callers_trace(
    client: Any, prefix: str, tracers: TracerProvider, spans: InMemorySpanExporter
) -> None:
    metrics = OpenTelemetryMetrics(tracer_provider=tracers, wait_spans=0.05)
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        lock = Lock(hub, "workflow:42", ttl=10)
        async with lock.hold():  # at once: no span
            with tracers.get_tracer("test").start_as_current_span("request") as request, pytest.raises(AcquireTimeout):
                async with lock.hold(timeout=0.06):
                    pass
        limiter = RateLimiter(hub, Limit(1, per=0.2), name="api")
        await limiter.hit("a")
        assert await limiter.wait("a")
    found = {span.name: span for span in spans.get_finished_spans()}
    wait = found["riskscale.lock.wait"]
    assert wait.parent == request.get_span_context() and wait.status.status_code is StatusCode.UNSET
    assert wait.attributes == {
        "riskscale.kind": "lock",
        "riskscale.outcome": "timeout",
        "riskscale.lock": "workflow:42",
    }
    assert 0.05e9 <= wait.end_time - wait.start_time <= time.time_ns() - wait.start_time
    assert found["riskscale.rate.wait"].attributes == {"riskscale.limiter": "api"}
    assert set(found) == {"riskscale.lock.wait", "riskscale.rate.wait", "request"}


async def test_a_wait_in_a_bulkhead_and_one_that_failed(tracers: TracerProvider, spans: InMemorySpanExporter) -> None:
    metrics = OpenTelemetryMetrics(tracer_provider=tracers, wait_spans=0)
    bulkhead = BulkheadExecutor(1, 1, name="db", wait=0.01, metrics=metrics)

    async def outer() -> None:
        with pytest.raises(AcquireTimeout):
            await bulkhead.submit(max, 1, 2)

    await bulkhead.submit(outer)
    metrics.observe("lock_wait_seconds", 1, kind="lock", outcome="failed", lock="x")
    bulkhead_span, lock_span = spans.get_finished_spans()
    assert bulkhead_span.name == "riskscale.bulkhead.wait" and bulkhead_span.attributes == {"riskscale.bulkhead": "db"}
    assert lock_span.status.status_code is StatusCode.ERROR


def test_no_spans_unless_asked_for(tracers: TracerProvider, spans: InMemorySpanExporter) -> None:
    metrics = OpenTelemetryMetrics(tracer_provider=tracers)
    metrics.observe("lock_wait_seconds", 10, kind="lock", outcome="acquired", lock="x")
    assert not spans.get_finished_spans()


@pytest.mark.parametrize("argument", ["wait_spans", "meter_provider", "tracer_provider", "max_series"])
def test_bad_arguments(argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        OpenTelemetryMetrics(**{argument: "x"})  # type: ignore[arg-type]
    assert caught.value.argument == argument


@pytest.mark.parametrize("name", ["PrometheusMetrics", "OpenTelemetryMetrics"])
def test_without_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("prometheus_client", "opentelemetry"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'riskscale\[metrics\]'"):
        getattr(riskscale, name)()
