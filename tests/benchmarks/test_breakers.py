"""The breaker benchmarks run and save their figures; what they count, not time, is the same in a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("aiobreaker", reason="the bench extra is not installed")
pytest.importorskip("interlock", reason="the bench extra is not installed")
pytest.importorskip("purgatory", reason="the bench extra is not installed")
pytest.importorskip("pybreaker", reason="the bench extra is not installed")

from benchmarks.breakers import __main__ as benchmarks
from benchmarks.breakers import probes, spread
from benchmarks.breakers.contenders import NAMES, OURS, BreakerSettings
from benchmarks.breakers.crew import PACE, Story

ALONE = {"name", "state", "us", "us_over_bare", "ratio_to_riskscale", "round_trips"}
SPREAD = {"name", "others", "trips", "opened", "median_ms", "p99_ms", "median_to_bare", "excess_most", "within_bound"}
FIELDS = {
    "alone_asyncio": ALONE,
    "alone_blocking": ALONE,
    "spread": SPREAD,
    "spread_pooled": SPREAD,
    "probes": {"name", "replicas", "permits", "while_open", "let_through"},
    "reports": {"report", "script_us", "ratio_to_get_set", "server_us", "percent_of_a_core_at_10000_per_s"},
}
TINY = BreakerSettings(
    rounds=1, slice_s=0.002, calls=20, processes=2, trips=2, rival_trips=2, replicas=3, permits=(2,), reports=200
)


def test_a_tiny_run_saves_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BreakerSettings, "short", lambda: TINY)
    monkeypatch.setattr(probes, "LIBRARIES", ("purgatory",))  # each takes seconds
    file = tmp_path / "breakers.json"
    benchmarks.main(["--short", "--json", str(file)])

    results = json.loads(file.read_text(encoding="utf-8"))
    assert set(results) == {"settings", "machine", "versions", *FIELDS}
    for section, fields in FIELDS.items():
        assert results[section], section
        assert all(fields <= set(row) for row in results[section] if row.get("opened", 1)), section
    for section in ("alone_asyncio", "alone_blocking"):
        ours = [row["round_trips"] for row in results[section] if row["name"].startswith(OURS)]
        assert len(ours) == 4 and max(ours) <= 0.1, f"{section}: a call makes round trips"
        assert {row["name"] for row in results[section]} > {"pybreaker", "interlock-cb", "without"}
    assert {row["name"] for row in results["spread"]} == set(NAMES)
    for row in results["spread"] + results["spread_pooled"]:
        heard = row["opened"] == row["within_bound"] == 2 and row["never_refused"] == 0
        assert row["name"] != OURS or heard, row
    ours, *_ = results["probes"]
    assert (ours["name"], ours["while_open"], ours["let_through"]) == (OURS, 0, 2)


def test_what_is_let_through_after_the_trip_is_excess() -> None:
    seen = spread.trip([Story([1.0, 2.0, 2.5], 3.0), Story([1.5, 2.1], 2.25)], tripped=2.0)
    assert (seen.delays, seen.excess) == ([1.0, 0.25], 2)
    assert seen.bound == 2 * (5 + 1.0 / PACE)


def test_who_never_refuses_is_told_of() -> None:
    seen = spread.trip([Story([1.0], None), Story([1.0], 2.5)], tripped=2.0)
    assert (seen.delays, seen.deaf) == ([0.5], 1)
