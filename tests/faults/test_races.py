"""Replicas as OS processes on one real server: judged by what the server stamped, not by any clock of ours."""

from __future__ import annotations

import bisect
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from riskscale.lease._queue_model import POLL_US
from riskscale.rate._model import interval
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit
from tests.faults.canary import Canary
from tests.rate.test_model import most_in_any_window

pytestmark = pytest.mark.server
POLL = POLL_US / 1e6


@contextmanager
def replicas(many: int, *words: object) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready, and started at one moment; none outlives the block."""
    command = [sys.executable, "-m", "tests.faults._worker", *map(str, words)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(many)
    ]
    try:
        for process in processes:
            assert process.stdout and process.stdin
            assert json.loads(process.stdout.readline()) == {"event": "ready"}
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def events(processes: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """What they said until they ended, each of them well."""
    found = []
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        found += [json.loads(line) for line in out.splitlines()]
    return found


def check_leases(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leases, in order of their fence: they rise in time, and none begins before the one before it ended."""
    ends = {each["fence"]: each["at"] for each in history if each["event"] == "released"}
    held = sorted((each for each in history if each["event"] == "held"), key=lambda each: each["fence"])
    for one, two in itertools.pairwise(held):
        assert one["fence"] < two["fence"]
        assert ends.get(one["fence"], one["at"] + one["ttl"]) <= two["at"], (one, two)
    return held


def url_of(backend: Any) -> str:
    login = f"{backend.login['username']}:{backend.login['password']}@" if backend.login else ""
    return str(backend.url).replace("redis://", f"redis://{login}")


def test_one_holder_at_a_time(backend: Any, prefix: str) -> None:
    with replicas(4, url_of(backend), prefix, "locks", 5, 5) as processes:
        history = events(processes)
    assert len(check_leases(history)) == 20 and not [each for each in history if each["event"] == "lost"]


def test_a_killed_holder_is_succeeded_when_its_lease_ends(backend: Any, prefix: str) -> None:
    ttl, url = 1.0, url_of(backend)
    with Canary(backend.admin) as canary, replicas(1, url, prefix, "locks", 1, ttl, "keep") as (victim,):
        assert victim.stdout
        history = [json.loads(victim.stdout.readline())]
        with replicas(2, url, prefix, "locks", 3, ttl) as others:
            victim.send_signal(signal.SIGKILL)
            assert victim.wait() == -signal.SIGKILL
            history += events(others)
    held = check_leases(history)
    assert len(held) == 7
    # At the end of the lease the lock goes to whoever polls next.
    assert held[1]["at"] - held[0]["at"] <= ttl + POLL + 2 * canary.worst


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_never_over_the_limit(backend: Any, prefix: str, algorithm: Algorithm) -> None:
    limit = Limit(50, per=0.25, algorithm=algorithm)
    with replicas(4, url_of(backend), prefix, "rates", limit.count, limit.per, algorithm, 1500) as processes:
        history = events(processes)
    admitted = sorted((round(each["at"] * 1e6), 1) for each in history if each["event"] == "admitted")
    most = most_in_any_window(admitted, limit.window_us)
    allowed = {
        "fixed_window": 2 * limit.count,
        "gcra": limit.capacity + limit.window_us // interval(limit),
    }.get(algorithm, limit.count)
    assert limit.count <= most <= allowed


def used(folder: Path, algorithm: str) -> tuple[list[float], list[float]]:
    """When the hits of each unit began, and when they ended; both in order."""
    lines = [line.split() for file in folder.iterdir() for line in file.read_text().splitlines()]
    mine = [line for line in lines if len(line) == 4 and line[0] == algorithm]
    return sorted(float(line[1]) for line in mine), sorted(float(line[2]) for line in mine)


def surely_within(begun: list[float], ended: list[float], span: float) -> int:
    """The most units that were used, without a doubt, in one span: begun after its start, and ended by its end."""
    return max(at + 1 - bisect.bisect_right(begun, end - span) for at, end in enumerate(ended))


def test_never_over_the_limit_of_what_was_borrowed(backend: Any, prefix: str, tmp_path: Path) -> None:
    """Eight processes, four of them killed with leases in their hands; judged by when each unit was used."""
    count, per = 200, 0.5
    with replicas(8, url_of(backend), prefix, "leases", count, per, 3, tmp_path) as processes:
        for at, victim in enumerate(processes[:4]):
            file = tmp_path / str(victim.pid)
            while not file.exists() or len(file.read_text().splitlines()) < 40 * (at + 1):
                assert victim.poll() is None, "it should have been killed by now"
            victim.send_signal(signal.SIGKILL)
            assert victim.wait() == -signal.SIGKILL
        assert events(processes[4:]) == []
    lasts = [(tmp_path / str(victim.pid)).read_text().splitlines()[-1] for victim in processes[:4]]
    assert any(int(last.split()[-1]) for last in lasts if last.count(" ") == 3), "nobody died with units in hand"
    for algorithm in ALGORITHMS:
        begun, ended = used(tmp_path, algorithm)
        assert len(begun) > 2 * count, "the limit was not tried"
        most = surely_within(begun, ended, per)
        assert most <= (count if algorithm.startswith("sliding") else 2 * count), algorithm
    limit = Limit(count, per=per, algorithm="gcra")
    begun, ended = used(tmp_path, "gcra")
    for span in (0.01, 0.1, 0.5, 1.0):
        assert surely_within(begun, ended, span) <= count + span * 1e6 // interval(limit)
