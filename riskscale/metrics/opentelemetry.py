"""To OpenTelemetry, by its API alone: the application brings the SDK."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from riskscale._core.durations import Duration, seconds
from riskscale.errors import ArgumentError
from riskscale.metrics.catalogue import METRICS, Kind, Metric
from riskscale.metrics.series import Exporter, SeriesOptions, Tell

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

WAITS = {name: metric.otel.removesuffix(".duration") for name, metric in METRICS.items() if "_wait_" in name}
"""The names of spans, by the histograms of the same waits."""


class OpenTelemetryMetrics(Exporter):
    """Counts in instruments of OpenTelemetry, as ``riskscale....``; docs/metrics.md has the names.

    Args:
        meter_provider: where the instruments are made; None: the global one.
        tracer_provider: where spans are; None: the global one.
        wait_spans: seconds; a wait for a lock, a semaphore, an election, a bulkhead or a limiter that took as long or
            longer also becomes a span, of the present trace, with all its labels; 0: each; None: none.
        options: how many series there may be; see :class:`riskscale.metrics.series.SeriesOptions`. An instrument
            forgets no series: with ``top``, who comes to the top after ``max_series`` others stays under "other".

    Raises:
        ArgumentError: an argument is malformed.
        ModuleNotFoundError: opentelemetry-api is not installed.

    Of any number of threads, event loops and hubs.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        tracer_provider: TracerProvider | None = None,
        wait_spans: Duration | None = None,
        **options: Unpack[SeriesOptions],
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ModuleNotFoundError as error:
            message = f"{error.name} is missing: pip install 'riskscale[metrics]'"
            raise ModuleNotFoundError(message, name=error.name) from error
        from riskscale import __version__

        for argument, provider, method in (
            ("meter_provider", meter_provider, "get_meter"),
            ("tracer_provider", tracer_provider, "get_tracer"),
        ):
            if provider is not None and not hasattr(provider, method):
                raise ArgumentError(argument, f"must have {method}(), not be {provider!r}")
        self._meter = metrics.get_meter("riskscale", __version__, meter_provider)
        self._shortest = None if wait_spans is None else seconds(wait_spans, "wait_spans")
        self._tracer = trace.get_tracer("riskscale", __version__, tracer_provider)
        self._failed = trace.Status(trace.StatusCode.ERROR)
        super().__init__(options)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.MetricsCollector`; ArgumentError where ``value`` is not finite."""
        super().observe(name, value, **labels)
        if self._shortest is not None and name in WAITS and value >= self._shortest:
            self._span(WAITS[name], value, labels)

    def _span(self, name: str, value: float, labels: dict[str, str]) -> None:
        """Made when the wait is over: whoever waited tells of it, in its own context."""
        end = time.time_ns()
        span = self._tracer.start_span(name, attributes=attributes(labels), start_time=end - round(value * 1e9))
        if labels.get("outcome") == "failed":
            span.set_status(self._failed)
        span.end(end)

    def _backend(self, metric: Metric, kept: Sequence[str]) -> Instrument:
        match metric.kind:
            case Kind.COUNTER:
                tell = self._meter.create_counter(metric.otel, metric.unit, metric.help).add
            case Kind.GAUGE:
                tell = self._meter.create_gauge(metric.otel, metric.unit, metric.help).set
            case Kind.HISTOGRAM:
                tell = self._meter.create_histogram(
                    metric.otel, metric.unit, metric.help, explicit_bucket_boundaries_advisory=metric.buckets
                ).record
        return Instrument(tell, kept)


class Instrument:
    """One of OpenTelemetry's."""

    def __init__(self, tell: Any, labels: Sequence[str]) -> None:
        self._tell, self._labels = tell, labels

    def series(self, values: tuple[str, ...]) -> Tell:
        """Its method, bound to these attributes."""
        return partial(self._tell, attributes=attributes(dict(zip(self._labels, values, strict=True))))

    def forget(self, values: tuple[str, ...]) -> bool:
        """It cannot."""
        return False


def attributes(labels: dict[str, str]) -> dict[str, str]:
    """In our name space."""
    return {f"riskscale.{label}": value for label, value in labels.items()}
