"""Ten owners on a server, killed, stopped and told to leave at random; what came of it, to be judged."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import redis

from riskscale.partition.calls import Change, GroupCalls
from riskscale.sync import Hub, PartitionGroup
from tests.partition.checker import Fault, History, Journal

OWNERS, PARTITIONS, TTL = 10, 64, 0.6


class Observer:
    """Hears every change that the server tells, in its order."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.changes: list[Change] = []
        self._pubsub = client.pubsub()
        self._pubsub.subscribe(f"{prefix}rs1:partitions")
        self._pubsub.get_message(timeout=5)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def _listen(self) -> None:
        while not self._over.is_set():
            message = self._pubsub.get_message(timeout=0.1)
            if message is not None:
                self.changes.append(Change.of(message["data"].decode().partition(" ")[2]))

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._pubsub.close()


class Fleet:
    """The processes, and what was done to them."""

    def __init__(self, client: Any, url: str, prefix: str, folder: Path) -> None:
        self.client, self.folder = client, folder
        command = [sys.executable, "-m", "tests.partition.owner", str(folder), url, prefix, str(PARTITIONS), str(TTL)]
        self.nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.alive: list[int] = []
        self.stopped: dict[int, float] = {}
        self.done: list[tuple[str, int, int]] = []

    def now(self) -> int:
        seconds, us = self.client.time()
        return int(seconds) * 1_000_000 + int(us)

    def start(self) -> None:
        assert self.nursery.stdin and self.nursery.stdout
        self.nursery.stdin.write("\n")
        self.nursery.stdin.flush()
        self.alive.append(int(self.nursery.stdout.readline()))

    def signal(self, kind: str, pid: int) -> None:
        os.kill(pid, getattr(signal, f"SIG{kind.upper()}"))
        self.done.append((kind, pid, self.now()))

    def trouble(self, draw: random.Random) -> None:
        """To one of those that go."""
        pid = draw.choice([each for each in self.alive if each not in self.stopped])
        kind = draw.choice(["kill", "kill", "stop", "stop", "term"])
        self.signal(kind, pid)
        if kind == "stop":
            self.stopped[pid] = time.monotonic() + draw.uniform(0.1, 2.5 * TTL)
        else:
            self.alive.remove(pid)
            self.start()

    def wake(self, now: float) -> None:
        for pid in [pid for pid, until in self.stopped.items() if until <= now]:
            del self.stopped[pid]
            self.signal("cont", pid)

    def close(self) -> None:
        self.nursery.communicate()

    def history(self, changes: list[Change]) -> History:
        names: dict[int, str] = {}
        journals: dict[str, Journal] = {}
        for path in self.folder.glob("*.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
            name = next((line["name"] for line in lines if line["e"] == "member"), None)
            if name is not None:
                names[int(path.stem)] = name
                journals[name] = _journal(lines)
        faults = [Fault(kind, names[pid], at) for kind, pid, at in self.done if pid in names]
        return History(ttl=round(TTL * 1_000_000), changes=changes, journals=journals, faults=faults)


def _journal(lines: list[dict[str, Any]]) -> Journal:
    journal = Journal()
    for line in lines:
        match line["e"]:
            case "lease":
                journal.leases.append(line["at"])
            case "gives":
                journal.gives += [(partition, epoch) for partition, epoch in line["items"]]
            case "leaves":
                journal.gives.append(None)
            case "believes":
                journal.beliefs.append((line["since"], {int(each): epoch for each, epoch in line["owned"].items()}))
    return journal


def run(url: str, prefix: str, folder: Path, *, seconds: float, seed: int) -> History:
    """Trouble for so long, then none until all partitions are owned by those that live."""
    draw = random.Random(seed)
    with redis.Redis.from_url(url) as client, Observer(client, prefix) as observer:
        fleet = Fleet(client, url, prefix, folder)
        with Hub(client, key_prefix=prefix) as hub:
            group = PartitionGroup(hub, "g", PARTITIONS, TTL)
            try:
                for _ in range(OWNERS):
                    fleet.start()
                _settled(group)
                end = time.monotonic() + seconds
                next_at = 0.0
                while (now := time.monotonic()) < end or fleet.stopped:
                    fleet.wake(now)
                    if next_at <= now < end:
                        fleet.trouble(draw)
                        next_at = now + draw.choice([0.0, 0.3, 1.0, 2.0]) * TTL
                    time.sleep(0.01)
                _settled(group)
                version = group.inspect().version
                while not observer.changes or observer.changes[-1].version < version:
                    time.sleep(0.01)
            finally:
                for pid in fleet.stopped:
                    os.kill(pid, signal.SIGCONT)
                fleet.close()
    calls = GroupCalls.of(f"{prefix}rs1:{{g}}", "")
    assert calls.key == group._spec.calls.key
    return fleet.history(observer.changes)


def _settled(group: PartitionGroup) -> None:
    """All are there, each with its share, and nobody else."""
    while True:
        info = group.inspect()
        members = info.members or []
        if len(members) == OWNERS and not info.idle and all(len(each.owned) == each.share for each in members):
            return
        time.sleep(0.01)
