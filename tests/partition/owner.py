"""Replicas as OS processes: ``python -m tests.partition.owner FOLDER URL PREFIX PARTITIONS TTL``.

Forks one for each line that it reads, and says its process id; at the end of its input all are killed. The fork is for
speed: a new one is there at once. Half of them are asyncio, half threads. Each writes a journal, a line at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

import riskscale
from riskscale import sync as blocking
from riskscale._core.scripts import script

LOOK = 0.03
"""Seconds between two looks at what is believed to be owned."""
DRAIN = 0.01

KINDS = {script(f"partition.{verb}").sha: verb for verb in ("beat", "release", "leave")}


class Journal:
    """Lines that are there once they are written, also when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(self, what: str, **more: Any) -> None:
        os.write(self._file, (json.dumps({"e": what, **more}) + "\n").encode())

    def sends(self, verb: str, words: tuple[Any, ...]) -> None:
        if verb == "release":
            items = [int(word) for word in words[4:-1]]
            self.say("gives", items=[*zip(items[0::2], items[1::2], strict=True)])
        elif verb == "leave":
            self.say("leaves")

    def got(self, verb: str, reply: Any) -> None:
        if verb == "beat":
            self.say("lease", at=int(reply[0]))

    def believes(self, stamp: tuple[int, int], owned: dict[int, int]) -> None:
        self.say("believes", since=stamp[0] * 1_000_000 + stamp[1], owned=owned)


class Recorded(redis.Redis):  # type: ignore[type-arg]
    """Writes down what it sends before it does, and what was replied."""

    journal: Journal

    def evalsha(self, sha: str, numkeys: int, *words: Any) -> Any:
        verb = KINDS.get(sha, "")
        self.journal.sends(verb, (numkeys, *words))
        reply = super().evalsha(sha, numkeys, *words)
        self.journal.got(verb, reply)
        return reply


class AsyncRecorded(redis.asyncio.Redis):  # type: ignore[type-arg]
    """The same for asyncio."""

    journal: Journal

    async def evalsha(self, sha: str, numkeys: int, *words: Any) -> Any:  # type: ignore[override]
        verb = KINDS.get(sha, "")
        self.journal.sends(verb, (numkeys, *words))
        reply = await super().evalsha(sha, numkeys, *words)
        self.journal.got(verb, reply)
        return reply


class Owner:
    """One replica: a member until SIGTERM."""

    def __init__(self, folder: Path, url: str, prefix: str, partitions: int, ttl: float) -> None:
        self.url, self.prefix = url, prefix
        self.words = ("g", partitions, ttl)
        self.journal = Journal(folder / f"{os.getpid()}.jsonl")

    async def run(self) -> None:
        over = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
        client: Any = AsyncRecorded.from_url(self.url)
        client.journal = self.journal
        clock: Any = redis.asyncio.Redis.from_url(self.url)

        async def drain(_: object) -> None:
            await asyncio.sleep(DRAIN)

        async with (
            client,
            clock,
            riskscale.Hub(client, key_prefix=self.prefix) as hub,
            riskscale.PartitionGroup(hub, *self.words, address="asyncio", on_revoked=drain) as group,
        ):
            self.journal.say("member", name=group.member)
            while not over.is_set():
                stamp = await clock.time()
                self.journal.believes(stamp, group.partitions)
                await asyncio.sleep(LOOK)

    def run_in_threads(self) -> None:
        over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: over.set())
        client: Any = Recorded.from_url(self.url)
        client.journal = self.journal

        def drain(_: object) -> None:
            time.sleep(DRAIN)

        with (
            client,
            redis.Redis.from_url(self.url) as clock,
            blocking.Hub(client, key_prefix=self.prefix) as hub,
            blocking.PartitionGroup(hub, *self.words, address="threads", on_revoked=drain) as group,
        ):
            self.journal.say("member", name=group.member)
            while not over.wait(LOOK):
                stamp: Any = clock.time()
                self.journal.believes(stamp, group.partitions)


def main() -> None:
    folder, url, prefix, partitions, ttl = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # they are reaped by themselves
    started: list[int] = []
    for number, _ in enumerate(iter(sys.stdin.readline, "")):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            owner = Owner(Path(folder), url, prefix, int(partitions), float(ttl))
            try:
                if number % 2:
                    owner.run_in_threads()
                else:
                    asyncio.run(owner.run())
            finally:
                os._exit(0)
        started.append(pid)
        print(pid, flush=True)
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
