"""A real process that is stopped past its lease and goes on to write: what happens without a guard, and with one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

import riskscale.sync
from tests.faults.fleet import url_of

pytestmark = pytest.mark.server


@contextmanager
def stopped_holder(*words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process that holds the lock, has found its lease good, and is stopped; with what it said."""
    command = [sys.executable, "-m", "tests.fence._holder", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            held = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGSTOP)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            yield process, held
        finally:
            process.kill()


def outcome(backend: Any, prefix: str, how: str, then: str) -> tuple[dict[str, Any], dict[str, Any], int, bytes]:
    """What the sleeper said before and after, the fence of the holder after it, and the value in the end.

    Between the two the newer holder, which waited for the lock like anybody, has written (``then``) or only read.
    """
    url = url_of(backend)
    with stopped_holder(url, prefix, "0.5", how) as (process, held), redis.Redis.from_url(url) as client:
        hub = riskscale.sync.Hub(client, key_prefix=prefix)
        guard = riskscale.sync.Guard(hub, "report")
        with riskscale.sync.Lock(hub, "report", ttl=60).hold(timeout=30) as newer:
            assert guard.read(fence=newer.fence) is None
            if then == "write":
                guard.write("newer", fence=newer.fence)
            process.send_signal(signal.SIGCONT)
            out, _ = process.communicate("\n", timeout=60)
        return held, json.loads(out), newer.fence, client.get(guard.key)  # type: ignore[return-value]


def test_without_a_guard_the_sleeper_overwrites_the_newer_holder(backend: Any, prefix: str) -> None:
    held, said, fence, value = outcome(backend, prefix, "plain", "write")
    assert held["looked"] > 0 and said == {"event": "wrote", "left": 0.0} and held["fence"] < fence
    assert value == b"sleeper", "this is the failure that fences are for"


@pytest.mark.parametrize("how", ["write", "read"])
@pytest.mark.parametrize(("then", "value"), [("write", b"newer"), ("read", None)])
def test_the_guard_refuses_the_sleeper(backend: Any, prefix: str, how: str, then: str, value: bytes | None) -> None:
    held, said, fence, seen = outcome(backend, prefix, how, then)
    assert held["looked"] > 0
    assert said == {"event": "refused", "left": 0.0, "fence": held["fence"], "mark": fence}
    assert seen == value
