"""A server that is killed and comes back, or stalls, in the middle of the traffic of several processes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import pytest

from riskscale.testing import Outage, ServerProcess
from tests.faults._traffic import LIMIT, POLICIES, REPLICAS
from tests.faults.fleet import Event, Listener, replicas
from tests.rate.promises import most_in_any_window

SHARE = LIMIT.count // REPLICAS
WINDOW = LIMIT.window_us / 1e6
DEGRADED = {"raise": set(), "allow": {True}, "deny": {False}, "local": {True}}
"""What is decided without the server; a share is also used up."""


def in_all(least: int, wanted: Callable[[Event], bool]) -> Callable[[list[Event]], bool]:
    """Whether every replica has said so of every policy ``least`` times."""

    def holds(events: list[Event]) -> bool:
        counted = Counter((each["replica"], each["policy"]) for each in events if wanted(each))
        return len(counted) == REPLICAS * len(POLICIES) and min(counted.values()) >= least

    return holds


def by_the_server(event: Event) -> bool:
    return event.get("degraded") is False


def most_surely_within_a_window(events: list[Event], most: int) -> bool:
    """Whether more than ``most`` were admitted within one window, at whatever moment from ``before`` to ``after``."""
    admitted = sorted((each for each in events if each.get("allowed")), key=lambda each: float(each["before"]))
    starts = range(len(admitted) - most)
    return any(
        max(each["after"] for each in admitted[at : at + most + 1]) - admitted[at]["before"] < WINDOW for at in starts
    )


@pytest.mark.parametrize("kind", ["asyncio", "blocking"])
@pytest.mark.parametrize("outage", [Outage.crashed, Outage.stalled], ids=["crashed", "stalled"])
def test_traffic_goes_on(
    scratch_server: ServerProcess, outage: Callable[[ServerProcess], Outage], kind: str, prefix: str
) -> None:
    with replicas(REPLICAS, scratch_server.url, prefix, "traffic", kind) as processes, Listener(processes) as heard:
        heard.wait_for("the server decides", in_all(5, by_the_server))
        gone, gone_at = time.monotonic(), time.time()
        with outage(scratch_server):
            without = in_all(20, lambda each: each["before"] > gone and not by_the_server(each))
            heard.wait_for("decisions without the server", without)
            back, back_at = time.monotonic(), time.time()
        again = in_all(1, lambda each: each["before"] > back and by_the_server(each))
        heard.wait_for("the server decides again", again)
        settled = time.monotonic() + WINDOW
        heard.wait_for("traffic", in_all(20, lambda each: each["before"] > settled and by_the_server(each)))
        events = heard.until_they_end()

    for policy in POLICIES:
        mine = [each for each in events if each["policy"] == policy]
        assert any("error" in each for each in mine) == (policy == "raise")
        degraded = {each["allowed"] for each in mine if each.get("degraded")}
        assert degraded - ({False} if policy == "local" else set()) == DEGRADED[policy]

        # No burst of stored-up quota, by the server's stamps. One that was killed knows nothing of what was before.
        of_server = [each for each in mine if by_the_server(each)]
        lives = [of_server]
        if outage == Outage.crashed:
            lives = [[e for e in of_server if e["at"] < gone_at], [e for e in of_server if e["at"] > back_at]]
        for life in lives:
            stamps = sorted((round(each["at"] * 1e6), 1) for each in life if each["allowed"])
            assert 0 < most_in_any_window(stamps, LIMIT.window_us) <= LIMIT.count, policy

    local = [each for each in events if each["policy"] == "local"]
    assert not most_surely_within_a_window(local, 2 * LIMIT.count), "not even as the outage begins"
    for replica in range(REPLICAS):
        mine = [each for each in local if each["replica"] == replica]
        first = next(each for each in mine if each["degraded"] and each["before"] > gone)
        assert not most_surely_within_a_window([each for each in mine if each["degraded"]], SHARE)
        # From the first failure on until a window after the outage, whoever decided.
        shared = [each for each in mine if each["before"] >= first["after"] and each["after"] < back + WINDOW]
        assert not most_surely_within_a_window(shared, SHARE), (replica, first)
