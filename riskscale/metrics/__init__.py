"""Where what riskscale counts goes: to Prometheus, to OpenTelemetry, or, in tests, into memory."""

from riskscale.metrics.catalogue import METRICS, Kind, Metric
from riskscale.metrics.memory import InMemoryMetrics
from riskscale.metrics.opentelemetry import OpenTelemetryMetrics
from riskscale.metrics.prometheus import PrometheusMetrics

__all__ = ["METRICS", "InMemoryMetrics", "Kind", "Metric", "OpenTelemetryMetrics", "PrometheusMetrics"]
