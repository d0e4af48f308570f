"""Replicas as OS processes on a real server, which are killed; what they do is judged by what the server stamped."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from riskscale import BreakerPolicy, BreakerState, CircuitOpen
from riskscale.sync import CircuitBreaker, Hub
from tests.faults.canary import Canary
from tests.faults.test_races import url_of

pytestmark = pytest.mark.server


class Process:
    """One replica."""

    def __init__(self, url: str, prefix: str, options: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.breaker._replica", url, prefix, json.dumps(options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, words: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def do(self, words: str) -> dict[str, Any]:
        self.tell(words)
        return self.hear()


@contextmanager
def processes(many: int, backend: Any, prefix: str, options: dict[str, Any]) -> Iterator[list[Process]]:
    """None of them outlives the block."""
    started = [Process(url_of(backend), prefix, options) for _ in range(many)]
    try:
        yield started
    finally:
        for each in started:
            each.process.kill()
            each.process.communicate()


@contextmanager
def here(backend: Any, prefix: str, options: dict[str, Any]) -> Iterator[CircuitBreaker]:
    """A replica in this process."""
    with redis.Redis.from_url(url_of(backend)) as client, Hub(client, key_prefix=prefix) as hub:
        yield CircuitBreaker(name="payments", policy=BreakerPolicy(**options), redis=hub)


def test_the_prober_is_killed(backend: Any, prefix: str) -> None:
    lease, look = 0.5, 0.05
    options = {"consecutive_failures": 3, "open_seconds": 0.1, "probe_seconds": lease, "refresh_seconds": look}
    with (
        processes(1, backend, prefix, options) as (victim,),
        here(backend, prefix, options) as breaker,
        Canary(backend.admin) as canary,
    ):
        breaker.call(str)  # from here on it hears of changes
        events = breaker.events()
        assert victim.do("fail 3")["state"] == "open"
        victim.tell("hang")
        while (said := victim.hear())["event"] != "trying":
            assert said["came"] == ["refused"]
            victim.tell("hang")
        victim.process.kill()
        while breaker.state is not BreakerState.CLOSED:
            try:
                breaker.call(str)
            except CircuitOpen as error:
                time.sleep(min(error.retry_after, look))
        began = ended = 0.0
        for transition in events:
            if transition.after is BreakerState.HALF_OPEN:
                began = transition.at
            if transition.after is BreakerState.CLOSED:
                ended = transition.at
                break
        assert transition.reason == "probes_succeeded" and began
    assert lease <= ended - began <= lease + 3 * look + 3 * canary.worst


def test_processes_trip_together_and_one_that_starts_admits_none(backend: Any, prefix: str) -> None:
    options = {"failure_rate": 0.5, "minimum_calls": 30, "open_seconds": 60, "refresh_seconds": 0.05}
    with processes(4, backend, prefix, options) as replicas, here(backend, prefix, options) as breaker:
        for each in replicas:
            assert each.do("fail 9")["came"] == ["failed"] * 9
        while (info := breaker.inspect()).state is not BreakerState.OPEN:
            time.sleep(0.005)
        assert (info.transition and info.transition.counts == (36, 36, 0)) or info.transition.counts.calls >= 30
        with processes(1, backend, prefix, options) as (new,):
            assert set(new.do("pass 1000")["came"]) == {"refused"}
        for each in replicas:
            while each.do("pass")["came"] != ["refused"]:
                pass
