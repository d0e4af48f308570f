"""To Prometheus, by way of prometheus-client."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from riskscale._core.durations import number
from riskscale.errors import ArgumentError
from riskscale.metrics.catalogue import METRICS, Kind, Metric
from riskscale.metrics.series import Exporter, SeriesOptions, Tell

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

METHODS = {Kind.COUNTER: "inc", Kind.HISTOGRAM: "observe", Kind.GAUGE: "set"}


class PrometheusMetrics(Exporter):
    """Counts in a registry of prometheus-client, as ``riskscale_...``; docs/metrics.md has the names.

    Args:
        registry: where the metrics are registered; None: the one that ``start_http_server`` exports.
        buckets: upper bounds of a histogram's buckets, rising, by its name without ``riskscale_``, in place of ours.
        options: how many series there may be; see :class:`riskscale.metrics.series.SeriesOptions`.

    Raises:
        ArgumentError: an argument is malformed; the registry has riskscale's metrics already (share one object);
            ``top`` where prometheus-client runs in multiprocess mode, which cannot forget a series.
        ModuleNotFoundError: prometheus-client is not installed.

    Of any number of threads, event loops and hubs.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        buckets: Mapping[str, Sequence[float]] | None = None,
        **options: Unpack[SeriesOptions],
    ) -> None:
        try:
            import prometheus_client
        except ModuleNotFoundError as error:
            message = f"{error.name} is missing: pip install 'riskscale[metrics]'"
            raise ModuleNotFoundError(message, name=error.name) from error
        if options.get("top") and os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            raise ArgumentError("top", "cannot be had in multiprocess mode, where no series can be forgotten")
        if registry is not None and not hasattr(registry, "register"):
            raise ArgumentError("registry", f"must be a CollectorRegistry, not {registry!r}")
        self._client = prometheus_client
        self._registry = prometheus_client.REGISTRY if registry is None else registry
        self._buckets = checked(buckets or {})
        super().__init__(options)

    def _backend(self, metric: Metric, kept: Sequence[str]) -> Collected:
        names = label_names(kept)
        for suffix in ("", f"_{metric.kind}", "_2", "_3"):
            try:
                return Collected(self._registered(metric, suffix, names), METHODS[metric.kind])
            except ValueError as error:  # another name, or somebody else's metric, reads the same
                if metric.name in METRICS:
                    raise ArgumentError("registry", f"has a metric of that name already: {error}") from None
        raise ArgumentError("name", f"cannot be exported: the registry has {metric.prometheus} already")

    def _registered(self, metric: Metric, suffix: str, names: Sequence[str]) -> Any:
        name, text, registry = f"riskscale_{metric.name}{suffix}", metric.help, self._registry
        match metric.kind:
            case Kind.COUNTER:
                return self._client.Counter(name, text, names, registry=registry)
            case Kind.GAUGE:
                return self._client.Gauge(name, text, names, registry=registry, multiprocess_mode="liveall")
            case Kind.HISTOGRAM:
                buckets = self._buckets.get(metric.name, metric.buckets)
                return self._client.Histogram(name, text, names, registry=registry, buckets=buckets)


class Collected:
    """One metric of prometheus-client."""

    def __init__(self, collector: Any, method: str) -> None:
        self._collector, self._method = collector, method

    def series(self, values: tuple[str, ...]) -> Tell:
        """Its child; text that UTF-8 cannot say would spoil the whole page."""
        child = self._collector.labels(*map(encodable, values)) if values else self._collector
        tell: Tell = getattr(child, self._method)
        return tell

    def forget(self, values: tuple[str, ...]) -> bool:
        """Take the child away."""
        self._collector.remove(*map(encodable, values))
        return True


def encodable(value: object) -> str:
    """It, without lone surrogates."""
    return str(value).encode(errors="replace").decode()


def label_names(labels: Sequence[str]) -> list[str]:
    """As Prometheus allows them, each one once."""
    names: list[str] = []
    for label in labels:
        name = re.sub(r"[^a-zA-Z0-9_]", "_", label).lstrip("_") or "label"
        name = f"_{name}" if name[0].isdigit() or name in ("le", "quantile") else name
        while name in names:
            name += "_"
        names.append(name)
    return names


def checked(buckets: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
    """ArgumentError for a name that no histogram has, or bounds that do not rise."""
    for name, bounds in buckets.items():
        if name not in METRICS or METRICS[name].kind is not Kind.HISTOGRAM:
            raise ArgumentError("buckets", f"names no histogram of riskscale: {name!r}")
        numbers = [number(bound, "buckets", -math.inf, math.inf) for bound in bounds]
        if not numbers or numbers != sorted(set(numbers)):
            raise ArgumentError("buckets", f"of {name!r} must be bounds that rise, not {bounds!r}")
    return buckets
