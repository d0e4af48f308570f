"""The benchmark of the example service runs and saves its figures; what it counts, not time, is told by a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.example import __main__ as benchmarks
from benchmarks.example.protections import ExampleSettings

TINY = ExampleSettings(rounds=1, calls=20, callers=(4,), burst=6)


def test_a_tiny_run_saves_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExampleSettings, "short", lambda: TINY)
    file = tmp_path / "example.json"
    benchmarks.main(["--short", "--json", str(file)])
    results = json.loads(file.read_text(encoding="utf-8"))
    assert [(row["name"], row["other_than_201"]) for row in results["protections"]] == [
        ("all protections", 0), ("none", 0),
    ]  # fmt: skip
    assert [row["connections"] for row in results["growth"]] == [12, 12]
    (limit,) = results["one_limit"]
    assert (limit["limit"], limit["admitted_fewest"], limit["admitted_most"], limit["refused"]) == (4, 4, 4, 40)
