"""Counting without consequences: a collector that fails disturbs no request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from riskscale.typing import MetricsCollector

log = logging.getLogger("riskscale.metrics")


class Meter:
    """The caller's collector; its exceptions are logged, the first of each kind, and swallowed."""

    def __init__(self, collector: MetricsCollector) -> None:
        self._collector = collector
        self._seen: set[str] = set()

    def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
        """See :class:`riskscale.typing.MetricsCollector`."""
        self._tell(self._collector.increment, name, value, labels)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.typing.MetricsCollector`."""
        self._tell(self._collector.observe, name, value, labels)

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.typing.MetricsCollector`."""
        self._tell(self._collector.gauge, name, value, labels)

    def _tell(self, method: Callable[..., Any], name: str, value: float, labels: dict[str, str]) -> None:
        try:
            method(name, value, **labels)
        except Exception as error:
            kind = type(error).__name__
            if kind not in self._seen:
                self._seen.add(kind)
                log.exception("the metrics collector failed at %s", name)
