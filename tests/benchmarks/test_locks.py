"""The lock benchmarks run beside another's data and save their figures; how high these are is no matter of tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

pytest.importorskip("pottery", reason="the bench extra is not installed")
pytest.importorskip("redis_lock", reason="the bench extra is not installed")

from benchmarks.locks import __main__ as benchmarks
from benchmarks.locks import handover
from benchmarks.locks.contenders import LockSettings
from riskscale.testing.server import ServerProcess

ALONE = {"name", "ops_per_s", "ratio_to_bare", "round_trips"}
HAND_OVER = {"name", "waiters", "count", "median_ms", "p99_ms", "ratio_to_bare", "p99_to_bare"}
FIELDS = {
    "alone_blocking": ALONE,
    "alone_asyncio": ALONE,
    "alone_server": {"name", "decisions", "us_per_decision", "ratio_to_get_set"},
    "hand_over_asyncio": HAND_OVER,
    "hand_over_processes": HAND_OVER,
    "queued": {"mailboxes", "queued", "scripts", "commands", "us", "ratio_to_10", "log"},
    "renewal": {"name", "leases", "round_trips", "round_trips_per_s", "cpu_ms", "cpu_percent", "server_ms"},
}
TINY = LockSettings(rounds=1, slice_s=0.002, calls=3, largest=1000, waiters=(4,), processes=2, hand_overs=4, leases=600)


def test_a_tiny_run_beside_others_data_saves_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LockSettings, "short", lambda: TINY)
    file = tmp_path / "locks.json"

    with ServerProcess() as server, redis.Redis.from_url(server.url) as client:
        client.set("another's", "value")
        benchmarks.main(["--short", "--json", str(file), "--redis", server.url])
        left = {key: client.ttl(key) for key in client.scan_iter()}

    assert left.pop(b"another's") == -1
    assert all(seconds > 0 for seconds in left.values())
    results = json.loads(file.read_text(encoding="utf-8"))
    assert set(results) == {"settings", "versions", "machine", *FIELDS}
    for section, fields in FIELDS.items():
        assert results[section], section
        assert all(fields <= set(row) for row in results[section]), section
    _counts(results)


def _counts(results: dict[str, list[dict[str, float]]]) -> None:
    """What is counted, not timed, is the same in a tiny run."""
    for section in ("alone_blocking", "alone_asyncio"):
        assert [row["round_trips"] for row in results[section] if row["name"] == "riskscale"] == [2], section
    assert {row["scripts"] for row in results["queued"]} == {3}
    for kind in {row["mailboxes"] for row in results["queued"]}:
        commands = {row["queued"]: row["commands"] for row in results["queued"] if row["mailboxes"] == kind}
        assert set(commands) == {10, 100, 1000}
        # One more where the queue is longer than the page of a hundred that the script reads at a time.
        assert commands[1000] <= commands[100] + 1, "a hand-over's commands grow with the queue"
    trips = {row["name"]: row["round_trips"] for row in results["renewal"]}
    # Where redis-py takes more than two seconds, riskscale's own come meanwhile.
    assert 600 <= trips["redis-py"] < 700 and 2 <= trips["riskscale"] <= 20, "not batched"
    for section in ("hand_over_asyncio", "hand_over_processes"):
        assert {"riskscale", "redis-py", "pottery"} <= {str(row["name"]).split(",")[0] for row in results[section]}


def test_hand_overs_are_told_in_the_order_of_the_grants() -> None:
    assert handover.hand_overs([(5.0, 6.0), (1.0, 2.0), (2.5, 4.0)]) == [0.5, 1.0]


def test_two_holders_at_once_end_the_run() -> None:
    with pytest.raises(AssertionError, match="two held the lock"):
        handover.hand_overs([(1.0, 2.0), (1.5, 3.0)])


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--redis", "http://x"], ["--redis", "redis://127.0.0.1:1"]])
def test_what_cannot_be_measured_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        benchmarks.main(arguments)
    assert ended.value.code == 2
    assert arguments[0] in (said := capsys.readouterr().err) and said.count("\n") == 1
