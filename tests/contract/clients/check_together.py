"""2 Python, 2 Node, 2 Go processes and a Java one on one server: one limit, one lock, one breaker.

What they did is judged by what the server stamped.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from riskscale.testing import ServerProcess
from tests.contract.clients.toolchains import Harness
from tests.contract.clients.worker import LIMIT, LOCK_TTL, POLICY

PROCESSES = ("python", "python", "node", "node", "go", "go", "java")
WINDOWS = 3
HOLDS = 3
PATIENCE_S = 60
LOCK = {f"{role}Key": f"rs1:{{together}}:{role}" for role in ("lock", "queue", "wait")}
BREAKER = {
    "breakerKey": "rs1:{together}:breaker",
    **{f"{role}Key": f"rs1:{{together}}:breaker-{role}" for role in ("window", "nodes", "probes")},
}
RULES = {
    "consecutive": POLICY.rules.consecutive, "minimum": POLICY.rules.minimum, "failurePpm": POLICY.rules.failure_ppm,
    "slowPpm": POLICY.rules.slow_ppm, "slowUs": POLICY.rules.slow_us, "quorum": POLICY.rules.quorum,
    "windowUs": POLICY.rules.window_us, "openUs": POLICY.rules.open_us, "growthPct": POLICY.rules.growth_pct,
    "maxOpenUs": POLICY.rules.max_open_us, "permits": POLICY.rules.permits, "halfOpenUs": POLICY.rules.half_open_us,
    "probeUs": POLICY.rules.probe_us,
}  # fmt: skip


class Python(Harness):
    """A process of the package's own surface."""

    def hit(self) -> list[int]:
        return list(self.say("hit")["reply"])

    def hold(self) -> list[int]:
        return list(self.say("hold")["reply"])

    def fail(self) -> None:
        self.say("fail")

    def state(self) -> str:
        return str(self.say("state")["reply"])


class Foreign(Harness):
    """A process of a generated client; each step is one call of it."""

    numbers = itertools.count(1)

    def __init__(self, command: list[str], url: str) -> None:
        super().__init__(command, url)
        self.node = f"node-{next(self.numbers)}"
        self.knows = {"generation": 0, "state": "closed", "remainingUs": 0}

    def call(self, method: str, call: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = self.say(method, call)["reply"]
        return {name[0].lower() + name[1:]: value for name, value in reply.items()}

    def hit(self) -> list[int]:
        items = [{"key": "rs1:{tenant-7}:rate:api:1s:sliding_log", "cost": 1}]
        reply = self.call("rateSlidingLog", {"count": LIMIT.count, "windowUs": 10**6, "charge": 1, "items": items})
        (item,) = reply["items"]
        return [reply["atUs"], item.get("retryUs", item.get("RetryUs"))]

    def hold(self) -> list[int]:
        owner = f"{self.node}-{next(self.numbers)}"
        acquire = {**LOCK, "owner": owner, "ttlUs": LOCK_TTL * 10**6, "metadata": self.node}
        lease = self.call("lockAcquire", acquire)
        while not lease["acquired"]:
            time.sleep(lease["waitUs"] / 1e6)  # as a poller does
            lease = self.call("lockAcquire", acquire)
        return [lease["fence"], lease["atUs"], self.call("lockRelease", {**LOCK, "owner": owner})["atUs"]]

    def fail(self) -> None:
        self.state()  # outcomes count for the generation that their node knows
        outcome = {"ageUs": 0, "calls": 1, "failures": 1, "slow": 0}
        self.ask("breakerReport", {"sequence": 1, "run": 1, "votes": 0, "outcome": "none", "items": [outcome]})

    def state(self) -> str:
        return str(self.ask("breakerProbe", {"probe": f"{self.node}-{next(self.numbers)}"})["state"])

    def ask(self, method: str, call: dict[str, Any]) -> dict[str, Any]:
        """It tells what it knows, and learns what holds."""
        ours = {"node": self.node, "channel": "rs1:breakers", "drawn": 0}
        reply = self.call(method, {**BREAKER, **RULES, **self.knows, **ours, **call})
        self.knows = {name: reply[name] for name in self.knows}
        return reply


@pytest.fixture(scope="module")
def processes(command: Callable[[str, str], list[str]], server: ServerProcess) -> Iterator[list[Python | Foreign]]:
    started: list[Python | Foreign] = []
    try:
        for language in PROCESSES:
            if language == "python":
                started.append(Python([sys.executable, "-m", "tests.contract.clients.worker"], server.url))
            else:
                started.append(Foreign(command(language, "harness"), server.url))
        yield started
    finally:
        for each in started:
            each.close()


def all_of_them(processes: list[Python | Foreign], work: Callable[[Any], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(work, processes))


def test_one_limit(processes: list[Python | Foreign]) -> None:
    def client(process: Python | Foreign) -> list[int]:
        """When it was admitted. Refused, it waits as long as it is told."""
        admitted: list[int] = []
        first_us, _ = at_us, retry_us = process.hit()
        while at_us < first_us + WINDOWS * 10**6:
            if retry_us:
                time.sleep(retry_us / 1e6)
            else:
                admitted.append(at_us)
            at_us, retry_us = process.hit()
        return admitted

    by_process = all_of_them(processes, client)
    stamps = sorted(itertools.chain(*by_process))
    for first, beyond in zip(stamps, stamps[LIMIT.count :], strict=False):
        assert beyond - first >= 10**6, "more than the limit in one window"
    assert len(stamps) >= (WINDOWS - 1) * LIMIT.count
    assert all(by_process), "somebody was never admitted"


def test_one_lock(processes: list[Python | Foreign]) -> None:
    held = all_of_them(processes, lambda process: [process.hold() for _ in range(HOLDS)])
    leases = sorted(itertools.chain(*held), key=lambda lease: lease[1])
    assert len(leases) == HOLDS * len(PROCESSES)
    for (fence, _, to_us), (next_fence, next_from_us, _) in itertools.pairwise(leases):
        assert next_from_us >= to_us, "two held it at once"
        assert next_fence > fence


def test_one_breaker(processes: list[Python | Foreign]) -> None:
    """A failure of each of them opens it for all; one less would not."""
    *most, last = processes
    for process in most:
        process.fail()
    assert last.state() == "closed"
    last.fail()
    for process in processes:
        give_up = time.monotonic() + PATIENCE_S
        while process.state() != "open":
            assert time.monotonic() < give_up, "somebody does not see that it is open"
