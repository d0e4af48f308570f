"""Those who contend for one lock, in whichever process; each notes when it held the lock.

The clock is the host's monotonic one, the same for all its processes. All arrive, and come back after they had it, at
random within the period of those who poll: else these would fall into step, and hardly ever look at the right time.
"""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio

import riskscale
import riskscale.sync
from benchmarks.client_side import BARE, bare_words
from benchmarks.locks import contenders

HOLD: Final = 0.03
"""Seconds for which the lock is held; so long everything is idle before a release, and before a bare call."""
AWAY: Final = 0.1
"""Seconds at the most before a waiter comes (back): redis-py's polling period. One or two are away at a time."""
SHAPE: Final = (3, 6)
"""Keys and arguments of lock.acquire, and so of the bare call."""

Held = tuple[float, float]
"""When the acquire returned, and when the release was sent."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One lock, contended for until so many had it."""

    library: str
    threads: bool
    name: str
    each: int
    """Waiters in this process."""
    until: int


class Crowd:
    """One process's share, as one hub of each kind; ``grants`` counts for all processes, by whoever holds the lock."""

    def __init__(self, url: str, grants: Any) -> None:
        self._grants = grants
        self._runner = asyncio.Runner()
        self._client = redis.Redis.from_url(url)
        self._hub = riskscale.sync.Hub(self._client)
        self._async_client = redis.asyncio.Redis.from_url(url)
        self._async_hub = riskscale.Hub(self._async_client)
        self._bare = bare_words(self._client.script_load(BARE), *SHAPE)

    def contend(self, turn: Turn) -> list[Held]:
        """Until the turn is over; when each of this process's waiters held the lock."""
        if not turn.threads:
            return self._runner.run(self._tasks(turn))
        make = contenders.blocking(self._hub, self._client, turn.name)[turn.library]
        with ThreadPoolExecutor(turn.each) as pool:
            held = pool.map(lambda _: self._thread(make, turn.until), range(turn.each))
            return [each for several in held for each in several]

    def bare(self, threads: bool, count: int) -> list[float]:
        """Seconds of bare round trips, each after an idle time as long as a lock is held."""
        if not threads:
            return self._runner.run(self._bare_async(count))
        taken = []
        for _ in range(count):
            time.sleep(HOLD)
            start = time.monotonic()
            self._client.evalsha(*self._bare)
            taken.append(time.monotonic() - start)
        return taken

    def close(self) -> None:
        """End connections and subscriptions."""
        self._runner.run(self._async_hub.aclose())
        self._runner.run(self._async_client.aclose())
        self._runner.close()
        self._hub.close()
        self._client.close()

    async def _bare_async(self, count: int) -> list[float]:
        taken = []
        for _ in range(count):
            await asyncio.sleep(HOLD)
            start = time.monotonic()
            await self._async_client.evalsha(*self._bare)
            taken.append(time.monotonic() - start)
        return taken

    async def _tasks(self, turn: Turn) -> list[Held]:
        make = contenders.concurrent(self._async_hub, self._async_client, turn.name)[turn.library]
        held = await asyncio.gather(*(self._task(make, turn.until) for _ in range(turn.each)))
        return [each for several in held for each in several]

    async def _task(self, make: contenders.AsyncMaker, until: int) -> list[Held]:
        lock = make()
        held: list[Held] = []
        while True:
            await asyncio.sleep(random.uniform(0, AWAY))
            if self._grants.value >= until:
                return held
            async with lock:
                acquired = time.monotonic()
                if self._count() <= until:
                    await asyncio.sleep(HOLD)
                held.append((acquired, time.monotonic()))

    def _thread(self, make: contenders.Maker, until: int) -> list[Held]:
        lock = make()
        held: list[Held] = []
        while True:
            time.sleep(random.uniform(0, AWAY))
            if self._grants.value >= until:
                return held
            with lock:
                acquired = time.monotonic()
                if self._count() <= until:
                    time.sleep(HOLD)
                held.append((acquired, time.monotonic()))

    def _count(self) -> int:
        number: int = self._grants.value + 1
        self._grants.value = number
        return number
