"""Replicas as OS processes on one real server: judged by what the server stamped, not by any clock of ours."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
def replicas(many: int, *words: object, worker: str = "tests.faults._worker") -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready, and started at one moment; none outlives the block."""
    command = [sys.executable, "-m", worker, *map(str, words)]
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
