"""The examples run as they stand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis

from riskscale.sync import Hub, PartitionGroup
from riskscale.testing import ServerProcess
from tests.test_readme import ran

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples" / "partitions"


def test_affinity(scratch_server: ServerProcess) -> None:
    said = ran((EXAMPLES / "affinity.py").read_text(), scratch_server).splitlines()
    assert said[:3] == ["request 1 of tenant-7", "request 2 of tenant-7", "100 answers, 0 refused"]
    assert said[3].endswith(" of tenant-8") and len(said) == 4


def test_consumers(scratch_server: ServerProcess) -> None:
    """Two of them; one is told to end while there is work, and the other does the rest."""
    env = {**os.environ, "REDIS_URL": scratch_server.url}
    command = [sys.executable, str(EXAMPLES / "consumers.py")]
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        lines = worked_off(scratch_server.url, both)
    finally:
        for each in both:
            each.kill()
            each.communicate()
    assert [each.returncode for each in both] == [0, 0]
    assert sorted(lines) == sorted(f"job {number}" for number in range(300)), "each was done once"


def worked_off(url: str, both: list[subprocess.Popen[str]]) -> list[str]:
    """What they said they did."""
    with redis.Redis.from_url(url) as client, Hub(client) as hub:
        group = PartitionGroup(hub, "jobs", 64, 10)
        while [len(each.owned) for each in group.inspect().members or []] != [32, 32]:
            time.sleep(0.01)
        for number in range(300):
            client.lpush(f"jobs:{group.partition_of(f't{number}')}", f"job {number}")
            if number == 200:
                both[0].send_signal(signal.SIGINT)
        while list(client.scan_iter("jobs:*")):
            time.sleep(0.01)
    both[1].send_signal(signal.SIGINT)
    return [line.partition(": ")[2] for each in both for line in each.communicate(timeout=30)[0].splitlines()]
