"""Exporters, and what is to be read of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import prometheus_client
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from riskscale import OpenTelemetryMetrics, PrometheusMetrics
from riskscale.metrics import METRICS, Kind

Series = dict[frozenset[tuple[str, str]], float]
"""By their labels: a counter's sum, a histogram's count, a gauge's value."""


def prometheus_series(registry: Any, name: str) -> Series:
    metric = METRICS[name]
    end = "_count" if metric.kind is Kind.HISTOGRAM else ""
    return {
        frozenset(sample.labels.items()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == metric.prometheus + end
    }


def points(reader: InMemoryMetricReader) -> dict[str, Any]:
    """What was exported, by name: the metric as the SDK tells it."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: metric
        for every in data.resource_metrics
        for each in every.scope_metrics
        for metric in each.metrics
    }


def opentelemetry_series(reader: InMemoryMetricReader, name: str) -> Series:
    metric = points(reader).get(METRICS[name].otel)
    return {
        frozenset(
            (str(label).removeprefix("riskscale."), str(value)) for label, value in (point.attributes or {}).items()
        ): getattr(point, "count" if METRICS[name].kind is Kind.HISTOGRAM else "value")
        for point in (metric.data.data_points if metric else ())
    }


@pytest.fixture(params=["prometheus", "opentelemetry"])
def exporter(request: pytest.FixtureRequest) -> Callable[..., tuple[Any, Callable[[str], Series]]]:
    """``exporter(**options)``: one, and what reads a metric's series."""

    def make(**options: Any) -> tuple[Any, Callable[[str], Series]]:
        if request.param == "prometheus":
            registry = prometheus_client.CollectorRegistry()
            return PrometheusMetrics(registry, **options), lambda name: prometheus_series(registry, name)
        reader = InMemoryMetricReader()
        collector = OpenTelemetryMetrics(MeterProvider([reader]), **options)
        return collector, lambda name: opentelemetry_series(reader, name)

    return make
