"""The fleet benchmarks run and save their figures; what they count, not time, is the same in a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fleet import __main__ as benchmarks
from benchmarks.fleet.settings import FleetSettings
from benchmarks.partitions import PARTITIONS

LOCAL = {"name", "us", "us_over_bare", "ratio_to_bare"}
FIELDS = {
    "partitions": LOCAL,
    "events": LOCAL,
    "metrics": {"event", "us", "us_least", "ratio_to_bare"},
    "reports": {"name", "outcome", "decisions", "us_per_decision", "ratio_to_get_set"},
    "groups": {"replicas", "what", "us_per_call", "ms_in_all"},
    "replays": {"name", "us_per_decision", "ratio_to_get_set", "round_trips"},
}
TINY = FleetSettings(rounds=1, slice_s=0.002, calls=3, replicas=(10, 20))


def test_a_tiny_run_saves_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FleetSettings, "short", lambda: TINY)
    file = tmp_path / "fleet.json"
    benchmarks.main(["--short", "--json", str(file)])

    results = json.loads(file.read_text(encoding="utf-8"))
    assert set(results) == {"settings", "machine", "versions", *FIELDS}
    for section, fields in FIELDS.items():
        assert results[section] and all(fields <= set(row) for row in results[section]), section
    for replicas in TINY.replicas:
        moved = [row["moved"] for row in results["groups"] if row["replicas"] == replicas and "moved" in row]
        assert len(moved) == 2 and max(moved) <= 1.2 * PARTITIONS / (replicas - 1), "one leaves, one joins"
    _, first, again = results["replays"]
    assert (first["round_trips"], again["round_trips"]) == (2, 1)
    assert [row["outcome"] for row in results["reports"]][-2:] == ["10 replicas", "20 replicas"]
