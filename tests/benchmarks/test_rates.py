"""The rate benchmarks run, save their figures and publish them; how high these are is no matter of tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("aiolimiter", reason="the bench extra is not installed")
pytest.importorskip("limits", reason="the bench extra is not installed")
pytest.importorskip("matplotlib", reason="the bench extra is not installed")
pytest.importorskip("pyrate_limiter", reason="the bench extra is not installed")
pytest.importorskip("throttled", reason="the bench extra is not installed")

from benchmarks import client_side, rounds
from benchmarks.rates import __main__ as benchmarks
from benchmarks.rates import pictures, publish
from benchmarks.rates.contenders import RateSettings
from benchmarks.wire import shape

RATES = {"name", "ops_per_s", "ratio_to_bare", "round_trips"}
FIELDS = {
    "blocking": RATES | {"parser"},
    "asyncio": RATES | {"callers", "parser"},
    "hit_many": RATES | {"callers", "parser"},
    "latency": {"parser", "name", "median_us", "p99_us", "ratio_to_bare"},
    "local": {"name", "ops_per_s", "ratio_to_limits", "round_trips"},
    "server_time": {"name", "outcome", "decisions", "us_per_decision", "ratio_to_get_set"},
    "memory": {"name", "limit", "key_names", "memory"},
    "growth_keys": {"name", "tenants", "us", "ratio_to_get_set"},
    "growth_limit": {"name", "limit", "us_admitted", "ratio_admitted", "us_refused", "ratio_refused"},
}
TINY = RateSettings(rounds=1, slice_s=0.002, calls=5, callers=(1, 2), largest=100, samples=2)
PAGE = f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder with a page to be filled in."""
    (tmp_path / publish.PAGE).write_text(PAGE, encoding="utf-8")
    return tmp_path


def test_a_tiny_run_saves_every_section_and_publishes_it(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RateSettings, "short", lambda: TINY)
    file = docs / "deep" / "bench.json"

    benchmarks.main(["--short", "--json", str(file), "--docs", str(docs)])

    results = json.loads(file.read_text(encoding="utf-8"))
    assert set(results) == {"settings", "versions", "machine", *FIELDS}
    for section, fields in FIELDS.items():
        assert results[section], section
        assert all(fields <= set(row) for row in results[section]), section
    _counts(results)
    assert "published in" in capsys.readouterr().out
    _is_published(results, docs)


def _counts(results: dict[str, Any]) -> None:
    """What is counted, not timed, is the same in a tiny run."""
    assert {row["callers"] for row in results["asyncio"]} == {1, 2}
    for section in ("blocking", "asyncio", "hit_many"):
        ours = [row for row in results[section] if row["name"].startswith("riskscale")]
        assert all(row["round_trips"] == (0.01 if "hit_many" in row["name"] else 1) for row in ours), section
    for section in ("blocking", "asyncio", "latency", "local"):
        names = {str(row["name"]).split(",")[0].split(" ")[0] for row in results[section]}
        assert {"riskscale", "limits", "throttled-py", "pyrate-limiter"} <= names, section
    trips = {row["name"]: row["round_trips"] for row in results["local"]}
    assert trips.pop("limits moving window") == 1
    assert all(each == 0 or "leased" in name for name, each in trips.items())
    gcra = [row for row in results["server_time"] if row["name"] == "riskscale gcra"]
    assert {(row["outcome"], row["decisions"]) for row in gcra} == {
        (outcome, decisions) for outcome in ("admitted", "refused") for decisions in (1, 100)
    }


def _is_published(results: dict[str, Any], docs: Path) -> None:
    """Between the marks, every row; and the same files again from the same results."""
    files = [docs / name for name in (publish.PAGE, pictures.THROUGHPUT, pictures.SERVER_TIME)]
    page, *drawn = [file.read_bytes() for file in files]
    text = page.decode()
    assert text.startswith(f"before\n{publish.BEGIN}\n") and text.endswith(f"{publish.END}\nafter\n")
    assert "old" not in text
    for section in FIELDS:
        assert all(f"| {row['name']} |" in text for row in results[section]), section
    for picture in drawn:
        words = set(ElementTree.fromstring(picture).itertext())
        assert {"riskscale gcra", "limits moving window"} <= words
    assert "concurrent callers, one event loop" in drawn[0].decode()
    publish.Page(docs).write(results)
    assert [file.read_bytes() for file in files] == [page, *drawn]
    _has_a_panel_for_each_parser(results, docs)


def _has_a_panel_for_each_parser(results: dict[str, Any], docs: Path) -> None:
    both = [{**row, "parser": parser} for parser in ("python", "hiredis") for row in results["asyncio"]]
    publish.Page(docs).write({**results, "asyncio": both})
    words = list(ElementTree.parse(docs / pictures.THROUGHPUT).getroot().itertext())
    assert words.count("concurrent callers, one event loop") == 2
    assert {"redis-py with its own parser", "redis-py with hiredis"} <= set(words)


@pytest.mark.parametrize("arguments", [["--docs", "nowhere"], ["--docs", "."], ["--rounds", "0"]])
def test_what_cannot_be_done_is_one_line_before_anything_is_measured(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / publish.PAGE).write_text("no marks", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        benchmarks.main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [publish.PAGE]


def test_turns_begin_with_another_each_round() -> None:
    assert list(rounds.turns(["a", "b"], 2)) == [["a", "b"], ["b", "a"]]


def test_a_bare_call_has_the_shape_of_what_it_stands_for() -> None:
    commands = [[b"EVALSHA", b"sha", b"2", b"k", b"l", b"1", b"2", b""], [b"SET", b"k", b"v", b"NX"]]
    assert shape(commands) == ((2, 3), (1, 2))
    sha, keys, *words = client_side.bare_words("sha", 2, 3)
    assert (sha, keys, len(words)) == ("sha", 2, 5)
