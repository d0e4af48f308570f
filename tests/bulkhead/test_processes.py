"""Shared bulkheads among OS processes on one real server: judged by what the server stamped, not by our clocks."""

from __future__ import annotations

import json
import signal
import threading
from typing import Any

import pytest

from riskscale import BulkheadFull
from riskscale.lease._queue_model import POLL_US
from riskscale.sync import Hub, SharedBulkhead
from tests.faults.canary import Canary
from tests.faults.fleet import events, replicas, url_of

pytestmark = pytest.mark.server
POLL = POLL_US / 1e6
WORKER = "tests.bulkhead._worker"
DEAD = 4.0
"""Seconds after which a waiter that died is in nobody's way."""


def check_places(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All that held a place, in order; at each grant the weights held, together with it, are within its limit."""
    ends = {each["fence"]: each["at"] for each in history if each["event"] == "released"}
    held = sorted((each for each in history if each["event"] == "held"), key=lambda each: each["fence"])
    assert len({each["fence"] for each in held}) == len(held)
    for number, each in enumerate(held):
        others = [one for one in held[:number] if ends.get(one["fence"], float("inf")) > each["at"]]
        assert sum(one["weight"] for one in (*others, each)) <= each["limit"], (each, others)
    return held


def first(process: Any) -> dict[str, Any]:
    """The next event of a process."""
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


def server_time(client: Any) -> float:
    seconds, micros = client.time()
    return float(seconds + micros / 1e6)


def until_seen(bulkhead: SharedBulkhead, running: int, waiting: int) -> None:
    pause = threading.Event()
    while ((seen := bulkhead.status()).running, seen.waiting) != (running, waiting):
        pause.wait(0.005)


@pytest.fixture
def bulkhead(sync_hub: Hub) -> SharedBulkhead:
    return SharedBulkhead(sync_hub, "db", 4, 3)


def test_eight_processes_never_exceed_the_cap(backend: Any, prefix: str, bulkhead: SharedBulkhead) -> None:
    with replicas(8, url_of(backend), prefix, 4, 3, 30, 3, 8, "1,1,2,4", worker=WORKER) as processes:
        most, stop = 0, threading.Event()

        def look() -> None:
            nonlocal most
            while not stop.is_set():
                most = max(most, bulkhead.status().waiting)

        looking = threading.Thread(target=look)
        looking.start()
        history = events(processes)
        stop.set()
        looking.join()
    held = check_places(history)
    full = sum(each["event"] == "full" for each in history)
    assert len(held) + full == 8 * 3 * 8 and held and full, "each round either had a place or was refused"
    assert 0 < most <= 3
    until_seen(bulkhead, 0, 0)


def test_a_killed_holders_places_are_free_when_its_lease_ends(
    backend: Any, prefix: str, bulkhead: SharedBulkhead
) -> None:
    url = url_of(backend)
    with (
        Canary(backend.admin) as canary,
        replicas(1, url, prefix, 4, 3, 1, 1, 1, "4", "keep", worker=WORKER) as (victim,),
    ):
        first(victim)
        with replicas(1, url, prefix, 4, 3, 1, 1, 1, "4", worker=WORKER) as (heir,):
            until_seen(bulkhead, 4, 1)
            victim.send_signal(signal.SIGKILL)
            assert victim.wait() == -signal.SIGKILL
            before = server_time(backend.admin)
            (holder,) = (share for share in bulkhead.inspect().holders if share.fence)
            after = server_time(backend.admin)
            (taken, released) = events([heir])
    assert (taken["event"], taken["weight"], released["event"]) == ("held", 4, "released")
    assert before + holder.remaining <= taken["at"], "not before the lease has ended"
    assert taken["at"] <= after + holder.remaining + POLL + 2 * canary.worst
    assert holder.remaining <= 1, "one lease, renewed while it lived"


def test_a_killed_waiters_place_in_the_queue_is_free_again(backend: Any, prefix: str, sync_hub: Hub) -> None:
    narrow, url = SharedBulkhead(sync_hub, "db", 4, 1), url_of(backend)
    with narrow.hold(weight=4):
        with replicas(1, url, prefix, 4, 1, 30, 1, 1, "4", worker=WORKER) as (victim,):
            until_seen(narrow, 4, 1)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        with Canary(backend.admin) as canary:
            killed, pause = server_time(backend.admin), threading.Event()
            while True:
                try:
                    assert narrow.acquire(timeout=0.001) is None
                    break
                except BulkheadFull:
                    pause.wait(0.05)
            assert server_time(backend.admin) - killed <= DEAD + 2 * canary.worst


def test_a_smaller_cap_drains(backend: Any, prefix: str, bulkhead: SharedBulkhead) -> None:
    """Processes with a cap of 2 come while an old one holds 4: nobody is cut off, and at each grant it is within 2."""
    url = url_of(backend)
    with replicas(1, url, prefix, 4, 8, 30, 4, 1, "1", "keep", worker=WORKER) as (old,):
        history = [first(old) for _ in range(4)]
        with replicas(2, url, prefix, 2, 8, 30, 2, 5, "1", worker=WORKER) as new:
            until_seen(bulkhead, 4, 4)
            for number in range(1, 5):
                assert old.stdin
                old.stdin.write("\n")
                old.stdin.flush()
                history.append(first(old))
                assert number > 2 or bulkhead.status().waiting == 4, "nothing begins before it is within the new cap"
            history += events(new)
    held = check_places(history)
    assert len(held) == 24 and [each["limit"] for each in held[:5]] == [4, 4, 4, 4, 2]
