"""What exporters have in common: which series an event belongs to, and how many series there may be."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Protocol, TypeAlias, TypedDict

from riskscale._core.durations import integer
from riskscale.errors import ArgumentError
from riskscale.metrics.catalogue import METRICS, Kind, Metric, unknown
from riskscale.metrics.top import Top

OTHER = "other"
"""The value of a label whose own values were too many."""
UNBOUNDED = ("tenant_id", "lock")
"""Labels of which there may be a million values."""
MOST = 100_000

Tell: TypeAlias = Callable[[float], object]
"""Of one series: add, observe or set."""


class SeriesOptions(TypedDict, total=False):
    """How many series there may be: keyword arguments of every exporter."""

    drop: Collection[str]
    """Labels that are left out; ``("tenant_id", "lock")`` unless said."""
    top: Mapping[str, int]
    """Labels of which only the busiest values, so many, go by their names, and all others by "other"."""
    max_series: int
    """Label sets of one metric; 1,000 unless said. Later ones come under "other".

    Gauges have no "other": what would come under it is left out.
    """


class Backend(Protocol):
    """One metric where it is exported."""

    def series(self, values: tuple[str, ...]) -> Tell:
        """A new series, by the values of its labels."""

    def forget(self, values: tuple[str, ...]) -> bool:
        """Let go of a series; whether it can."""


class Family:
    """The series of one metric."""

    def __init__(self, metric: Metric, bounds: Bounds, backend: Backend) -> None:
        self._backend, self._bounds = backend, bounds
        self._kept = tuple(bounds.kept(metric.labels))
        self._tops = [(at, bounds.tops[label]) for at, label in enumerate(self._kept) if label in bounds.tops]
        self._fixed = [bool(metric.labels[label]) for label in self._kept]
        """Of which labels we give the values, so that there are few."""
        self._is_gauge = metric.kind is Kind.GAUGE
        self._series: dict[tuple[str, ...], Tell] = {}
        self._key: Callable[[Mapping[str, str]], object] = itemgetter(*self._kept) if self._kept else _nothing
        self._known: dict[object, Tell] = {}
        """By that key: what can be found without a second look."""

    def of(self, labels: Mapping[str, str]) -> Tell:
        """The series of an event; a label that is missing is ''."""
        try:
            tell = self._known.get(self._key(labels))
        except KeyError:
            tell = None
        return tell or self._find(labels)

    def _find(self, labels: Mapping[str, str]) -> Tell:
        values = tuple([labels.get(label, "") for label in self._kept])
        with self._bounds.mutex:
            for at, top in self._tops:
                if values[at] == OTHER or not top.has(values[at]):
                    if self._is_gauge:  # what many of them set in turn would say nothing
                        return _nothing
                    values = values[:at] + (OTHER,) + values[at + 1 :]  # noqa: RUF005 - at every event
            tell = self._series.get(values)
            if tell is None and len(self._series) >= self._bounds.max_series:
                if self._is_gauge:
                    return _nothing
                values = tuple([each if few else OTHER for each, few in zip(values, self._fixed, strict=True)])
                tell = self._series.get(values)
            if tell is None:
                tell = self._series[values] = self._backend.series(values)
                if not self._tops and labels.keys() >= set(self._kept):
                    self._known[self._key(dict(zip(self._kept, values, strict=True)))] = tell
            return tell

    def evict(self, label: str, value: str) -> None:
        """The series with this value of a label: another has taken its place."""
        for at, each in enumerate(self._kept):
            if each == label:
                for values in [values for values in self._series if values[at] == value]:
                    if self._backend.forget(values):
                        del self._series[values]


class Bounds:
    """What became of :class:`SeriesOptions`; ``evict(label, value)`` is called where a value lost its place."""

    def __init__(self, evict: Callable[[str, str], None], options: SeriesOptions) -> None:
        unexpected = set(options) - set(SeriesOptions.__annotations__)
        if unexpected:
            raise TypeError(f"unexpected keyword argument {min(unexpected)!r}")
        self.mutex = threading.Lock()
        self.max_series = integer(options.get("max_series", 1000), "max_series", 1, MOST)
        top, drop = options.get("top", {}), options.get("drop", UNBOUNDED)
        if not isinstance(top, Mapping):
            raise ArgumentError("top", f"must say how many by label, not be {top!r}")
        if isinstance(drop, str) or not isinstance(drop, Collection):
            raise ArgumentError("drop", f"must be several labels, not {drop!r}")
        self.tops = {
            label: Top(integer(places, f"top[{label!r}]", 1, self.max_series), partial(evict, label))
            for label, places in top.items()
        }
        self.drop = frozenset(drop) - self.tops.keys()

    def kept(self, labels: Collection[str]) -> list[str]:
        """Those of a metric's labels that are exported."""
        return [label for label in labels if label not in self.drop]


class Exporter:
    """A collector that hands what it is told to a backend for each metric; see :class:`riskscale.MetricsCollector`."""

    def __init__(self, options: SeriesOptions) -> None:
        self._bounds = Bounds(self._evict, options)
        self._making = threading.Lock()
        self._families: dict[Kind, dict[str, Family]] = {kind: {} for kind in Kind}
        self._counters = self._families[Kind.COUNTER]
        self._histograms = self._families[Kind.HISTOGRAM]
        self._gauges = self._families[Kind.GAUGE]
        for name, metric in METRICS.items():
            self._families[metric.kind][name] = self._family(metric)

    def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
        """See :class:`riskscale.MetricsCollector`; ArgumentError where ``value`` is negative or not finite."""
        if not 0 <= value < math.inf:
            raise ArgumentError("value", f"must be finite and not negative, not {value}: a counter only rises")
        (self._counters.get(name) or self._unknown(Kind.COUNTER, name, labels)).of(labels)(value)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.MetricsCollector`; ArgumentError where ``value`` is not finite."""
        if not -math.inf < value < math.inf:
            raise ArgumentError("value", f"must be finite, not {value}")
        (self._histograms.get(name) or self._unknown(Kind.HISTOGRAM, name, labels)).of(labels)(value)

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        """See :class:`riskscale.MetricsCollector`; ArgumentError where ``value`` is not finite."""
        if not -math.inf < value < math.inf:
            raise ArgumentError("value", f"must be finite, not {value}")
        (self._gauges.get(name) or self._unknown(Kind.GAUGE, name, labels)).of(labels)(value)

    def _unknown(self, kind: Kind, name: str, labels: dict[str, str]) -> Family:
        with self._making:
            families = self._families[kind]
            if name not in families:
                families[name] = self._family(unknown(kind, name, labels))
            return families[name]

    def _family(self, metric: Metric) -> Family:
        return Family(metric, self._bounds, self._backend(metric, self._bounds.kept(metric.labels)))

    def _backend(self, metric: Metric, kept: Sequence[str]) -> Backend:
        raise NotImplementedError

    def _evict(self, label: str, value: str) -> None:
        for families in self._families.values():
            for family in list(families.values()):
                family.evict(label, value)


def _nothing(_: object) -> None:
    """Of no label, and where there is nothing to tell."""
