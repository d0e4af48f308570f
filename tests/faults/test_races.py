"""Replicas as OS processes on one real server: judged by what the server stamped, not by any clock of ours."""

from __future__ import annotations

import bisect
import itertools
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from riskscale.lease._queue_model import POLL_US
from riskscale.rate._model import interval
from riskscale.rate.limit import ALGORITHMS, Limit
from tests.faults.canary import Canary
from tests.faults.fleet import events, replicas, url_of
from tests.rate.promises import is_kept, most_from_a_first, most_in_any_window
from tests.rate.reservation_machine import Charge, Promise

pytestmark = pytest.mark.server
POLL = POLL_US / 1e6


def check_leases(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leases, in order of their fence: they rise in time, and none begins before the one before it ended."""
    ends = {each["fence"]: each["at"] for each in history if each["event"] == "released"}
    held = sorted((each for each in history if each["event"] == "held"), key=lambda each: each["fence"])
    for one, two in itertools.pairwise(held):
        assert one["fence"] < two["fence"]
        assert ends.get(one["fence"], one["at"] + one["ttl"]) <= two["at"], (one, two)
    return held


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
            seconds, us = backend.admin.time()
            victim.send_signal(signal.SIGKILL)
            assert victim.wait() == -signal.SIGKILL
            history += events(others)
    held = check_leases(history)
    assert len(held) == 7
    # At the end of the lease the lock goes to whoever polls next, once there is somebody.
    assert held[1]["at"] - max(held[0]["at"] + ttl, seconds + us / 1e6) <= POLL + 2 * canary.worst


@pytest.mark.parametrize("how", ["blocking", "alone", "coalesced"])
def test_eight_replicas_are_never_over_the_limit(backend: Any, prefix: str, how: str) -> None:
    count, per = 50, 0.25
    with replicas(8, url_of(backend), prefix, "rates", count, per, 160, how) as processes:
        history = events(processes)
    for algorithm in ALGORITHMS:
        limit = Limit(count, per=per, algorithm=algorithm)
        mine = (each for each in history if each["algorithm"] == algorithm)
        admitted = sorted((round(each["at"] * 1e6), 1) for each in mine)
        assert most_in_any_window(admitted, limit.window_us) >= count and is_kept(limit, admitted), algorithm
        if algorithm == "fixed_window":
            assert most_from_a_first(admitted, limit.window_us) == count


def test_starts_that_were_promised_to_several_keep_the_promise(backend: Any, prefix: str) -> None:
    limit = Limit(1, per=1, algorithm="gcra", burst=5)
    with replicas(4, url_of(backend), prefix, "reservations", limit.capacity, 60) as processes:
        history = events(processes)
    charges = [Charge(round(each["start"] * 1e6), each["units"], each["units"]) for each in history]
    assert len(charges) == 240 and Promise(limit).breach(charges, None) is None


def test_what_a_killed_process_had_reserved_is_used_up(backend: Any, prefix: str) -> None:
    """Nobody else is given its starts; what is left of it expires, as everything does."""
    limit, url = Limit(1, per=1, algorithm="gcra", burst=5), url_of(backend)
    with replicas(1, url, prefix, "reservations", limit.capacity, 20) as (victim,):
        assert victim.stdout
        history = [json.loads(victim.stdout.readline()) for _ in range(20)]
        victim.send_signal(signal.SIGKILL)
        assert victim.wait() == -signal.SIGKILL
    with replicas(1, url, prefix, "reservations", limit.capacity, 20) as processes:
        later = events(processes)
    charges = [Charge(round(each["start"] * 1e6), each["units"], each["units"]) for each in history + later]
    assert Promise(limit).breach(charges, None) is None
    assert max(each["start"] for each in history if each["units"]) <= min(each["start"] for each in later)


def used(folder: Path, algorithm: str) -> tuple[list[float], list[float]]:
    """When the hits of each unit began, and when they ended; both in order."""
    lines = [line.split() for file in folder.iterdir() for line in file.read_text().splitlines()]
    mine = [line for line in lines if len(line) == 4 and line[0] == algorithm]
    return sorted(float(line[1]) for line in mine), sorted(float(line[2]) for line in mine)


def surely_within(begun: list[float], ended: list[float], span: float) -> int:
    """The most units that were used, without a doubt, in one span: begun after its start, and ended by its end."""
    return max(at + 1 - bisect.bisect_right(begun, end - span) for at, end in enumerate(ended))


def has_in_hand(file: Path, hits: int) -> int:
    """Units that a process held at its last hit, once it has made so many."""
    lines = file.read_text().splitlines() if file.exists() else []
    return int(lines[-1].split()[-1]) if len(lines) >= hits and lines[-1].count(" ") == 3 else 0


def test_never_over_the_limit_of_what_was_borrowed(backend: Any, prefix: str, tmp_path: Path) -> None:
    """Eight processes, four of them killed with leases in their hands; judged by when each unit was used."""
    count, per = 200, 0.5
    what = url_of(backend), prefix, "leases", count, per
    with replicas(4, *what, 60, tmp_path) as victims, replicas(4, *what, 3, tmp_path) as others:
        for at, victim in enumerate(victims):
            while has_in_hand(tmp_path / str(victim.pid), 40 * (at + 1)) == 0:
                assert victim.poll() is None, "it should have been killed by now"
            victim.send_signal(signal.SIGKILL)
            assert victim.wait() == -signal.SIGKILL
        assert events(others) == []
    for algorithm in ALGORITHMS:
        begun, ended = used(tmp_path, algorithm)
        assert len(begun) > 2 * count, "the limit was not tried"
        most = surely_within(begun, ended, per)
        assert most <= (count if algorithm.startswith("sliding") else 2 * count), algorithm
    limit = Limit(count, per=per, algorithm="gcra")
    begun, ended = used(tmp_path, "gcra")
    for span in (0.01, 0.1, 0.5, 1.0):
        assert surely_within(begun, ended, span) <= count + span * 1e6 // interval(limit)
