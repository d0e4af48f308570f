"""What an event costs can be measured; the figures of a tiny run mean nothing."""

from __future__ import annotations

from benchmarks.metrics import events
from benchmarks.rounds import Settings


def test_every_kind_of_event_is_measured() -> None:
    rows = events(Settings(rounds=1, slice_s=0.0001))
    assert all(row.keys() == {"event", "us", "us_least", "ratio_to_bare"} for row in rows)
    names = [str(row["event"]) for row in rows]
    for what in ("PrometheusMetrics: increment", "OpenTelemetryMetrics and SDK: observe", "the busiest 20 tenants"):
        assert any(what in name for name in names)
