"""A run: workers on one real server, what is done to them, and what is left when all of it has ended."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import redis.asyncio

from riskscale import Hub, Lock
from riskscale._core.call import text
from riskscale.testing import ServerProcess
from tests.faults.canary import Canary
from tests.history.checker import Verdict, check
from tests.history.history import SECOND, History, Left, gather
from tests.history.recorder import Journal
from tests.history.replica import Replica, read
from tests.history.rounds import NAMES, TTLS
from tests.history.violation import Violation

PREFIX = "history:"
BEAT = 0.02
FAULTS = {"reset": 10, "stop": 3, "stall": 3, "kill": 2, "flush": 2}
"""What is done, and how often in proportion."""
PAUSE = 0.2
"""Seconds between them, on average."""
PATIENCE = 60.0
"""Seconds for everything to end; only a run that hangs needs them."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``faults``: how many of each kind."""

    history: History
    verdict: Verdict
    faults: dict[str, int]


async def run(server: ServerProcess, folder: Path, *, seconds: float, seed: int, workers: int = 8) -> Outcome:
    """Run for so long, then let everything end, and judge."""
    async with redis.asyncio.Redis(port=server.port) as client:
        fleet = Fleet(client, server.port, folder, seed, workers)
        with redis.Redis(port=server.port) as other, Canary(other) as canary:
            async with fleet.running():
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await fleet.suffer()
                problems = await fleet.finish()
        problems += [problem for name in NAMES if (problem := await swept(client, name))]
        left = [each async for each in leftovers(client)]
    history = gather(fleet.journals(), read(fleet.path), left=left, stall=round(canary.worst * SECOND))
    verdict = check(history)
    verdict.violations += [Violation("ended badly", "", 0, problem) for problem in problems]
    faults = Counter(fault.kind for fault in history.faults if fault.kind not in ("cont", "flow", "box"))
    return Outcome(history=history, verdict=verdict, faults=dict(faults))


class Fleet:
    """The replicas, and what is done to them."""

    def __init__(self, client: Any, port: int, folder: Path, seed: int, workers: int) -> None:
        self._client, self._seed = client, seed
        self._chance = random.Random(seed)
        self.path = folder / "run.jsonl"
        self._journal = Journal(self.path)
        self.replicas = [Replica(slot, folder, port, self._told) for slot in range(workers)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._over, self._beaten = asyncio.Event(), asyncio.Event()

    def _told(self, kind: str, worker: str, box: str) -> None:
        e = {"e": "box"} if kind == "box" else {"e": "fault", "kind": kind}
        self._journal.say(**e, worker=worker, box=box)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While they run; nothing is left of them."""
        beats = asyncio.create_task(self._beat())
        try:
            for replica in self.replicas:
                await replica.door.open()
                await self._start(replica)
            while not all(replica.lives() for replica in self.replicas):
                await asyncio.sleep(BEAT)
            yield
            for _ in range(2):  # what was done last is between two beats, too
                self._beaten.clear()
                await self._beaten.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            self._over.set()  # a cancellation might be swallowed by the client
            await asyncio.gather(beats, *self._tasks, return_exceptions=True)
            for replica in self.replicas:
                await replica.close()
            self._journal.close()

    async def _start(self, replica: Replica) -> None:
        await replica.start({"prefix": PREFIX, "seed": self._seed})

    async def _beat(self) -> None:
        while not self._over.is_set():
            self._journal.beat(await self._client.time())
            self._beaten.set()
            await asyncio.sleep(BEAT)

    async def suffer(self) -> None:
        """One thing after the other, without end."""
        chance = self._chance
        while True:
            await asyncio.sleep(chance.expovariate(1 / PAUSE))
            (kind,) = chance.choices(list(FAULTS), weights=FAULTS.values())  # type: ignore[arg-type]
            replica, long = chance.choice(self.replicas), chance.uniform(1.2, 2.5) * max(TTLS)
            if kind == "flush":
                self._told("flush", "", "")
                await self._client.script_flush()
            elif kind == "reset":
                replica.door.reset(chance)
            elif not replica.stopped and not replica.restarting:
                self._spawn(self._restart(replica) if kind == "kill" else self._hinder(replica, kind, long))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hinder(self, replica: Replica, kind: str, long: float) -> None:
        begin, end = (replica.stop, replica.cont) if kind == "stop" else (replica.stall, replica.flow)
        begin()
        try:
            await asyncio.sleep(long)
        finally:
            end()

    async def _restart(self, replica: Replica) -> None:
        replica.restarting = True
        await replica.kill()
        await self._start(replica)
        replica.restarting = False

    async def finish(self) -> list[str]:
        """Let everybody end; what was wrong with it."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        ends = await asyncio.gather(*(replica.finish(PATIENCE) for replica in self.replicas))
        return [end for end in ends if end]

    def journals(self) -> dict[str, list[dict[str, Any]]]:
        """Of all workers there were."""
        return {name: lines for replica in self.replicas for name, lines in replica.journals().items()}


async def swept(client: Any, name: str) -> str:
    """Who comes last gets the lock; what is wrong, '' for nothing."""
    async with Hub(client, key_prefix=PREFIX) as hub:
        lock = Lock(hub, name, ttl=1)
        lease = await lock.acquire(timeout=PATIENCE)
        if lease is None:
            return f"{name} could not be had when all had ended: {await lock.inspect()}"
        await lease.release()
        return f"{name} is held when all had ended" if await lock.locked() else ""


async def leftovers(client: Any) -> AsyncIterator[Left]:
    """Every key on the server."""
    async for key in client.scan_iter():
        holder, tokens = "", []
        match text(key).rpartition(":")[2]:
            case "lock":
                holder = text(await client.hget(key, "owner") or "")
            case "queue":
                tokens = await client.zrange(key, 0, -1)
            case "wait":
                tokens = [each.lstrip(b"~") for each in await client.hkeys(key) if not each.startswith(b"!")]
        life_ms = await client.pttl(key)
        yield Left(key=text(key), life_ms=life_ms, tokens=tuple(map(text, tokens)), holder=holder)
