"""A collector that remembers everything, for tests."""

from __future__ import annotations

import threading
from typing import NamedTuple

from riskscale.metrics.catalogue import Kind


class Event(NamedTuple):
    """What a collector was told once."""

    kind: Kind
    name: str
    value: float
    labels: dict[str, str]


class InMemoryMetrics:
    """Keeps every event, with all its labels, for tests to ask about.

    ::

        metrics = riskscale.InMemoryMetrics()
        hub = riskscale.Hub(client, metrics=metrics)
        ...
        assert metrics.total("rate_decisions", outcome="refused") == 1

    Labels that are not given may be any. It grows with every event until :meth:`clear`.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._mutex = threading.Lock()

    def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
        """See :class:`riskscale.MetricsCollector`."""
        self._note(Event(Kind.COUNTER, name, value, labels))

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.MetricsCollector`."""
        self._note(Event(Kind.HISTOGRAM, name, value, labels))

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.MetricsCollector`."""
        self._note(Event(Kind.GAUGE, name, value, labels))

    def total(self, name: str, /, **labels: str) -> float:
        """What the counter ``name`` was incremented by, added up over all series that have these labels."""
        return sum(event.value for event in self._found(Kind.COUNTER, name, labels))

    def observed(self, name: str, /, **labels: str) -> list[float]:
        """What was observed of the distribution ``name``, in order."""
        return [event.value for event in self._found(Kind.HISTOGRAM, name, labels)]

    def last(self, name: str, /, **labels: str) -> float | None:
        """What the gauge ``name`` was set to last; None: it never was."""
        values = [event.value for event in self._found(Kind.GAUGE, name, labels)]
        return values[-1] if values else None

    def events(self, name: str | None = None) -> list[Event]:
        """Everything, or what there is of one name, in order: ``kind``, ``name``, ``value``, ``labels``."""
        with self._mutex:
            return [event for event in self._events if name in (None, event.name)]

    def clear(self) -> None:
        """Forget all."""
        with self._mutex:
            self._events.clear()

    def _note(self, event: Event) -> None:
        with self._mutex:
            self._events.append(event)

    def _found(self, kind: Kind, name: str, labels: dict[str, str]) -> list[Event]:
        return [event for event in self.events(name) if event.kind is kind and labels.items() <= event.labels.items()]
