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
    jobs = [f"job {number}" for number in range(300)]
    with redis.Redis.from_url(scratch_server.url) as client, Hub(client) as hub:
        group = PartitionGroup(hub, "jobs", 64, 10)
        while [len(each.owned) for each in group.inspect().members or []] != [32, 32]:
            time.sleep(0.01)
        for number, job in enumerate(jobs):
            client.lpush(f"jobs:{group.partition_of(f't{number}')}", job)
            if number == 200:
                both[0].send_signal(signal.SIGINT)
        while list(client.scan_iter("jobs:*")):
            time.sleep(0.01)
    both[1].send_signal(signal.SIGINT)
    lines = [line for each in both for line in each.communicate(timeout=30)[0].splitlines()]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted(line.partition(": ")[2] for line in lines) == sorted(jobs), "each was done once"
