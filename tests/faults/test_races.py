"""Replicas as OS processes on one real server: judged by what the server stamped, not by any clock of ours."""

from __future__ import annotations

import itertools
import json
import signal
from typing import Any

import pytest

from riskscale.lease._queue_model import POLL_US
from riskscale.rate.limit import ALGORITHMS, Limit
from tests.faults.canary import Canary
from tests.faults.fleet import events, replicas, url_of
from tests.rate.promises import is_kept, most_from_a_first, most_in_any_window

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
