"""A hit that is made a second after a change, or later, goes by it: in every replica, by the server's clock."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from riskscale import Hub
from riskscale.limits.calls import Change
from riskscale.limits.known import FRESH, Known
from tests.backends import ServerBackend
from tests.cli.command import ROOT
from tests.limits._replica import FIRST, KEY, PATIENCE, Seen, follow

Operator = Callable[..., Change]
COUNTS = [FIRST.count + number for number in range(3)]


def judge(began: dict[int, float], changed: dict[int, float]) -> None:
    """By no limit that was changed more than a second ago was a hit decided that began after that."""
    assert set(began) == set(COUNTS), "every change was seen"
    for count, next_ in itertools.pairwise(COUNTS):
        assert began[count] < changed[next_] + FRESH, f"{count} was used {began[count] - changed[next_]:.3f} s after"


async def test_in_two_hubs(
    backend: Any, operator_client: Any, prefix: str, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Known, "patience", PATIENCE)
    replicas = [Seen(COUNTS[1], random.Random(seed)) for seed in range(2)]
    hubs = [Hub(operator_client, key_prefix=prefix) for _ in replicas]
    work = [asyncio.create_task(follow(hub, operator_client, seen)) for hub, seen in zip(hubs, replicas, strict=True)]
    while not all(seen.began for seen in replicas):
        await asyncio.sleep(0.01)
    at = operator(KEY, f"{COUNTS[1]}/hour").at
    await asyncio.gather(*work)
    for hub, seen in zip(hubs, replicas, strict=True):
        await hub.aclose()
        assert seen.began[COUNTS[0]] < at + FRESH


@pytest.mark.server
def test_in_processes(backend: ServerBackend, prefix: str, operator: Operator) -> None:
    command = [sys.executable, "-m", "tests.limits._replica", backend.url, prefix]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    replicas = [
        subprocess.Popen(
            [*command, kind, str(seed), str(COUNTS[-1])], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        for seed, kind in enumerate(["asyncio", "threads", "asyncio"])
    ]
    lines = [replica.stdout for replica in replicas]
    try:
        changed = {}
        for count in COUNTS:
            if count != FIRST.count:
                changed[count] = operator(KEY, f"{count}/hour").at
            assert [int(line.readline()) for line in lines if line] == [count] * len(replicas)
        for replica, line in zip(replicas, lines, strict=True):
            assert line
            judge({int(count): began for count, began in json.loads(line.readline()).items()}, changed)
            assert replica.wait(60) == 0
    finally:
        for replica in replicas:
            if replica.poll() is None:
                replica.kill()
            replica.communicate()
