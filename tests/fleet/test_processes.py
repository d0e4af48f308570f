"""Five processes could scale; once an interval one does, also when it dies. Judged by what the server stamped."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fleet._replica import stream

pytestmark = pytest.mark.server

INTERVAL, TTL = 0.2, 0.6
KINDS = ("asyncio", "asyncio", "asyncio", "threads", "threads")


@dataclass(frozen=True, slots=True)
class Applied:
    """One order: when it was decided and when it was applied, both by the server's clock."""

    at: float
    fence: int
    pid: int
    applied: float


def applied(client: Any, prefix: str) -> list[Applied]:
    entries = client.xrange(stream(prefix))
    return [Applied(**json.loads(fields[b"order"]), applied=int(id_.split(b"-")[0]) / 1000) for id_, fields in entries]


@contextmanager
def replicas(backend: Any, prefix: str) -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """By their process ids; none of them outlives the block."""
    command = [sys.executable, "-m", "tests.fleet._replica", backend.url, prefix]
    started = [subprocess.Popen([*command, kind, str(INTERVAL), str(TTL)]) for kind in KINDS]
    try:
        yield {each.pid: each for each in started}
    finally:
        for each in started:
            each.kill()
            each.wait()


def wait_for(client: Any, prefix: str, more: int) -> list[Applied]:
    """Until so many more were applied."""
    before = len(applied(client, prefix))
    while len(found := applied(client, prefix)) < before + more:
        time.sleep(0.01)
    return found


def judge(history: list[Applied]) -> None:
    """At most one an interval; no leader after a later one; each order applied once, in the order of the decisions."""
    for one, two in itertools.pairwise(history):
        assert two.at - one.at >= INTERVAL - 1e-6, "twice in an interval"
        assert one.fence <= two.fence, "a leader came after a later one"
        assert one.pid == two.pid or one.fence < two.fence
        assert one.at - 0.001 <= one.applied, "the stream stamps whole milliseconds"


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSTOP])
def test_it_runs_once_an_interval_across_the_death_of_leaders(backend: Any, prefix: str, death: int) -> None:
    client = backend.admin
    with replicas(backend, prefix) as processes:
        gone: list[int] = []
        for _ in range(2):
            leader = wait_for(client, prefix, 3)[-1].pid
            os.kill(leader, death)
            gone.append(leader)
        while wait_for(client, prefix, 1)[-1].pid in gone:  # what it had sent
            pass
        if death == signal.SIGSTOP:  # they come to in the midst of another's term
            for pid in gone:
                os.kill(pid, signal.SIGCONT)
        history = wait_for(client, prefix, 4)
    client.pexpire(stream(prefix), 60_000)
    judge(history)
    assert len(set(gone)) == 2 and set(gone) < {each.pid for each in history} <= set(processes)
    assert len({each.fence for each in history}) >= 3
