"""``riskscale replay`` against an independent brute force, and every way of asking it."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from riskscale.cli.tally import Tally, batches
from riskscale.rate.limit import ALGORITHMS
from tests.backends import ServerBackend
from tests.cli.command import SAMPLE, json_line, start, url_of

LIMIT, WINDOW = 10, 60


def brute_force(lines: list[str], limits: list[tuple[int, int]]) -> dict[str, list[int]]:
    """Admitted and refused by address: every request looks at every admitted one before it."""
    requests = []
    for line in lines:
        match = re.match(r"^(\S+) .*?\[([^\]]+)\]", line)
        try:
            requests.append((datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z").timestamp(), match[1]))  # type: ignore[index]
        except (TypeError, ValueError):
            continue
    requests.sort(key=lambda request: request[0])
    admitted: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for at, ip in requests:
        if all(sum(at - window < before for before in admitted[ip]) < count for count, window in limits):
            admitted[ip].append(at)
            counts[ip][0] += 1
        else:
            counts[ip][1] += 1
    return dict(counts)


def by_key(result: dict[str, Any]) -> dict[str, list[int]]:
    return {each["key"]: [each["admitted"], each["refused"]] for each in result["by_key"]}


def made_up_log(seed: int) -> list[str]:
    """Few addresses, many equal times, out of order."""
    dice = random.Random(seed)
    lines = []
    for _ in range(1500):
        second = dice.randrange(900)
        at = f"02/Mar/2026:08:{second // 60:02}:{second % 60:02} +0000"
        lines.append(f'192.0.2.{dice.randrange(8)} - - [{at}] "GET /{dice.randrange(3)} HTTP/1.1" 200 5')
    return lines


@pytest.mark.parametrize("limits", [[(10, 60)], [(3, 10), (40, 600)]], ids=["one", "all or nothing"])
def test_equals_a_brute_force(run: Callable[..., Any], tmp_path: Path, limits: list[tuple[int, int]]) -> None:
    lines = made_up_log(7)
    (tmp_path / "log").write_text("\n".join(lines))
    options = [word for count, window in limits for word in ("--limit", f"{count}/{window}s")]
    code, out, _ = run("replay", tmp_path / "log", *options, "--algorithm", "sliding_log", "--json", "--top", 0)
    result, expected = json_line(out), brute_force(lines, limits)
    assert code == 0
    assert by_key(result) == expected
    assert result["refused"] == sum(refused for _, refused in expected.values()) > 0
    assert result["requests"] == result["admitted"] + result["refused"] == 1500
    assert (result["keys"], result["malformed"]) == (8, 0)


def test_the_sample(run: Callable[..., Any]) -> None:
    result = json_line(run("replay", SAMPLE, "--limit", "10/60s", "--by", "ip", "--json", "--top", 0).out)
    assert by_key(result) == brute_force(SAMPLE.read_text().splitlines(), [(LIMIT, WINDOW)])
    assert result["malformed"] == 4
    refused = [each["refused"] for each in result["by_key"]]
    assert refused == sorted(refused, reverse=True)
    assert result["by_key"][0]["first_refused"] < result["by_key"][0]["last_refused"]


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """The middle of the sample, where requests are refused."""
    path = tmp_path / "short.log"
    path.write_bytes(b"".join(SAMPLE.read_bytes().splitlines(keepends=True)[1000:1700]))
    return path


@pytest.mark.server
@pytest.mark.parametrize("more", [[], ["--compare"]])
def test_a_server_decides_the_same_and_keeps_nothing(
    run: Callable[..., Any], backend: ServerBackend, prefix: str, short: Path, more: list[str]
) -> None:
    words = ["replay", short, "--limit", "10/60s", "--limit", "100/day", "--by", "ip+path", "--json", *more]
    here = run(*words)
    there = run(*words, "--redis", url_of(backend), "--key-prefix", prefix)
    assert (here.code, there.code, there.err) == (0, 0, "")
    assert here.out == there.out
    assert not list(backend.admin.scan_iter(f"{prefix}*"))


@pytest.mark.server
def test_interrupted_it_removes_its_keys(backend: ServerBackend, prefix: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f'{{"time": {at}, "ip": "192.0.2.{at % 9}"}}\n' for at in range(200_000)))
    words = ("replay", log, "--limit", "10/60s", "--redis", url_of(backend), "--key-prefix", prefix)
    with start(*words) as process:
        while not list(backend.admin.scan_iter(f"{prefix}*")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"riskscale: interrupted\n")
    assert not list(backend.admin.scan_iter(f"{prefix}*"))


@pytest.mark.server
@pytest.mark.owns_server
def test_a_server_that_goes_away_is_one_line(scratch_server: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f'{{"time": {at}, "ip": "192.0.2.{at % 9}"}}\n' for at in range(200_000)))
    with start("replay", log, "--limit", "10/60s", "--redis", scratch_server.url) as process:
        client = redis.Redis.from_url(scratch_server.url)
        while not client.dbsize():
            assert process.poll() is None
        client.close()
        scratch_server.kill()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1)
    assert err.startswith(f"riskscale: cannot reach redis://127.0.0.1:{scratch_server.port}".encode())


def test_compare_sets_the_algorithms_side_by_side(run: Callable[..., Any], short: Path) -> None:
    result = json_line(run("replay", short, "--limit", "10/60s", "--compare", "--json").out)
    assert [each["algorithm"] for each in result["algorithms"]] == list(ALGORITHMS)
    for each in result["algorithms"]:
        alone = json_line(run("replay", short, "--limit", "10/60s", "--algorithm", each["algorithm"], "--json").out)
        assert {name: alone[name] for name in each} == each
    table = run("replay", short, "--limit", "10/60s burst=5", "--compare").out
    assert all(name in table for name in ALGORITHMS)


def test_the_table(run: Callable[..., Any]) -> None:
    code, out, err = run("replay", SAMPLE, "--limit", "10/minute", "--top", 1)
    assert (code, err) == (0, "")
    for words in ("requests", "3,34", "203.0.113.66", "2026-03-02 11:53", "4 malformed lines", "sample.log:1114:"):
        assert words in out
    assert "203.0.113.40" not in out


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("user", "ada"),
        ("path", "/login"),
        ("method", "POST"),
        ("status", "401"),
        ("ip+path", "203.0.113.66 /login"),
        ("method,status", "POST 401"),
    ],
)
def test_by(run: Callable[..., Any], by: str, key: str) -> None:
    result = json_line(run("replay", SAMPLE, "--limit", "10/60s", "--by", by, "--json", "--top", 0).out)
    assert key in by_key(result)


def test_json_lines_from_standard_input(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"when": 100 + at, "who": {"tenant": "a" if at % 3 else "b"}} for at in range(30)]
    text = "".join(json.dumps(record) + "\n" for record in records)
    packed = gzip.compress(text.encode())
    for content in (text.encode(), packed):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
        words = ("replay", "-", "--limit", "5/60s", "--time-field", "when", "--key-field", "who.tenant", "--json")
        assert by_key(json_line(run(*words).out)) == {"a": [5, 15], "b": [5, 5]}


def test_no_requests_at_all(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "log").write_text("nothing\nof this\n")
    code, out, _ = run("replay", tmp_path / "log", "--limit", "5/60s", "--json")
    assert code == 0
    assert {name: json_line(out)[name] for name in ("requests", "malformed", "keys", "by_key", "first")} == {
        "requests": 0, "malformed": 2, "keys": 0, "by_key": [], "first": None,
    }  # fmt: skip
    assert run("replay", tmp_path / "log", "--limit", "5/60s").code == 0


def test_what_strangers_wrote_does_not_reach_the_terminal(run: Callable[..., Any], tmp_path: Path) -> None:
    line = '192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /\x1b]0;hi[bold] HTTP/1.1" 200 1\n'
    (tmp_path / "log").write_text(line * 3)
    out = run("replay", tmp_path / "log", "--limit", "1/60s", "--by", "path").out
    assert "\x1b" not in out
    assert "/\\x1b]0;hi[bold]" in out


def test_tally_and_batches() -> None:
    assert list(batches([(1, "a"), (1, "b"), (2, "a")])) == [(1, ["a", "b"]), (2, ["a"])]
    tally = Tally("gcra")
    for at_us, key, allowed in [(1, "a", True), (2, "b", False), (3, "b", False), (4, "c", False), (5, "c", True)]:
        tally.add(key, at_us, allowed)
    assert Counter(admitted=tally.admitted, refused=tally.refused) == {"admitted": 2, "refused": 3}
    assert [each.key for each in tally.worst(0)] == ["b", "c", "a"]
    assert [each.key for each in tally.worst(1)] == ["b"]
    assert (tally.by_key["b"].first_refused_us, tally.by_key["b"].last_refused_us) == (2, 3)
