"""The fleet benchmarks run and save their figures; what they count, not time, is the same in a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fleet import __main__ as benchmarks
from benchmarks.fleet.settings import FleetSettings

LOCAL = {"name", "us", "us_over_bare", "ratio_to_bare"}
FIELDS = {
    "partitions": LOCAL,
    "events": LOCAL,
    "metrics": {"event", "us", "us_least", "ratio_to_bare"},
    "reports": {"name", "outcome", "decisions", "us_per_decision", "ratio_to_get_set"},
    "replays": {"name", "us_per_decision", "ratio_to_get_set", "round_trips"},
}
TINY = FleetSettings(rounds=1, slice_s=0.002, calls=3, replicas=(3, 20))


def test_a_tiny_run_saves_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FleetSettings, "short", lambda: TINY)
    file = tmp_path / "fleet.json"
    benchmarks.main(["--short", "--json", str(file)])

    results = json.loads(file.read_text(encoding="utf-8"))
    assert set(results) == {"settings", "machine", "versions", *FIELDS}
    for section, fields in FIELDS.items():
        assert results[section] and all(fields <= set(row) for row in results[section]), section
    _, first, again = results["replays"]
    assert (first["round_trips"], again["round_trips"]) == (2, 1)
    assert [row["outcome"] for row in results["reports"]][-2:] == ["3 replicas", "20 replicas"]
