"""Counting without consequences: a collector that fails disturbs no request."""

from __future__ import annotations

import logging

from riskscale.errors import ArgumentError
from riskscale.typing import MetricsCollector

log = logging.getLogger("riskscale.metrics")


class Meter:
    """The caller's collector; its exceptions are logged, the first of each kind, and swallowed."""

    def __init__(self, collector: MetricsCollector) -> None:
        self._collector = collector
        self._seen: set[str] = set()

    @classmethod
    def of(cls, metrics: MetricsCollector | None) -> Meter | None:
        """Of what a caller gave as ``metrics``; ArgumentError."""
        if metrics is None:
            return None
        if isinstance(metrics, type) or not isinstance(metrics, MetricsCollector):
            raise ArgumentError("metrics", f"must have increment(), observe() and gauge(), not be {metrics!r}")
        return cls(metrics)

    def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
        """See :class:`riskscale.typing.MetricsCollector`."""
        try:
            self._collector.increment(name, value, **labels)
        except Exception as error:
            self._failed(name, error)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.typing.MetricsCollector`."""
        try:
            self._collector.observe(name, value, **labels)
        except Exception as error:
            self._failed(name, error)

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.typing.MetricsCollector`."""
        try:
            self._collector.gauge(name, value, **labels)
        except Exception as error:
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._seen:
            self._seen.add(kind)
            log.error("the metrics collector failed at %s", name, exc_info=error)
