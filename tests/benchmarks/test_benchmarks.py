"""The benchmarks run and save their figures; how high these are is no matter of tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("limits", reason="the bench extra is not installed")
pytest.importorskip("throttled", reason="the bench extra is not installed")

from benchmarks import __main__ as benchmarks
from benchmarks import client_side, rounds
from benchmarks.rounds import Settings
from benchmarks.wire import shape

FIELDS = {
    "blocking": {"name", "ops_per_s", "ratio_to_bare", "round_trips"},
    "asyncio": {"callers", "name", "ops_per_s", "ratio_to_bare"},
    "server_time": {"name", "us_per_decision", "ratio_to_get_set"},
    "memory": {"name", "limit", "key_names", "memory"},
    "growth_keys": {"name", "keys", "us", "ratio_to_get_set"},
    "growth_limit": {"name", "limit", "us_admitted", "ratio_admitted", "us_refused", "ratio_refused"},
}


def test_a_tiny_run_saves_every_section_with_its_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = Settings(rounds=1, slice_s=0.002, calls=5, callers=(1, 2), largest=100)
    monkeypatch.setattr(Settings, "short", lambda: tiny)
    file = tmp_path / "deep" / "bench.json"

    benchmarks.main(["--short", "--json", str(file)])

    results = json.loads(file.read_text(encoding="utf-8"))
    assert set(results) == {"settings", "versions", *FIELDS}
    for section, fields in FIELDS.items():
        assert results[section], section
        assert all(fields <= set(row) for row in results[section]), section
    assert {row["callers"] for row in results["asyncio"]} == {1, 2}
    ours = [row for row in results["blocking"] if row["name"].startswith("riskscale") and "cycle" not in row["name"]]
    assert all(row["round_trips"] == (0.01 if "hit_many" in row["name"] else 1) for row in ours)
    assert "riskscale gcra, refused" in {row["name"] for row in results["server_time"]}
    assert "saved as" in capsys.readouterr().out


def test_turns_begin_with_another_each_round() -> None:
    assert list(rounds.turns(["a", "b"], 2)) == [["a", "b"], ["b", "a"]]


def test_a_bare_call_has_the_shape_of_what_it_stands_for() -> None:
    commands = [[b"EVALSHA", b"sha", b"2", b"k", b"l", b"1", b"2", b""], [b"SET", b"k", b"v", b"NX"]]
    assert shape(commands) == ((2, 3), (1, 2))
    sha, keys, *words = client_side.bare_words("sha", 2, 3)
    assert (sha, keys, len(words)) == ("sha", 2, 5)
