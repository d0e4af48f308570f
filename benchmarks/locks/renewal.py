"""One process that holds many locks: what it costs to renew them all once, which is due every third of their ttl.

riskscale's hub renews by itself, so a pass is that long; redis-py is told to renew one after the other.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio

import riskscale
from benchmarks.locks import contenders
from benchmarks.locks.contenders import LockSettings
from benchmarks.report import Row
from benchmarks.rounds import turns
from benchmarks.wire import cost
from riskscale._core.durations import MICRO

TTL: Final = 6
"""Seconds."""
EVERY: Final = TTL / 3

Renew = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def riskscale_leases(client: Any, names: list[str]) -> AsyncIterator[Renew]:
    """Holds the locks; what it gives lets the hub renew each of them once."""
    async with riskscale.Hub(client) as hub:
        locks = [riskscale.Lock(hub, name, ttl=TTL, auto_renew=True) for name in names]
        leases = await asyncio.gather(*(lock.acquire(timeout=0) for lock in locks))

        async def renew() -> None:
            await asyncio.sleep(EVERY)
            assert all(lease and lease.remaining() > TTL / 2 for lease in leases)

        yield renew


@asynccontextmanager
async def redis_py_leases(client: Any, names: list[str]) -> AsyncIterator[Renew]:
    """The same, one at a time, as there is no other way."""
    locks = [client.lock(name, timeout=TTL, thread_local=False) for name in names]
    for lock in locks:
        assert await lock.acquire(blocking=False)

    async def renew() -> None:
        for lock in locks:
            await lock.reacquire()

    yield renew
    for lock in locks:
        await lock.release()


KEEPERS: Final = (("riskscale", riskscale_leases), ("redis-py", redis_py_leases))


@dataclass(frozen=True, slots=True)
class Pass:
    """All leases renewed once: round trips, and seconds of this process, of the clock, of the server."""

    round_trips: int
    cpu: float
    wall: float
    server: float


def one_process(url: str, settings: LockSettings) -> list[Row]:
    """In turns, while all of them are held."""
    with asyncio.Runner() as runner, redis.Redis.from_url(url) as observer:
        client = redis.asyncio.Redis.from_url(url)
        stack = AsyncExitStack()
        renewals = {
            name: runner.run(stack.enter_async_context(keep(client, _names(settings)))) for name, keep in KEEPERS
        }
        passes: dict[str, list[Pass]] = {name: [] for name in renewals}
        for renew in renewals.values():  # the first call loads the script
            runner.run(renew())
        for order in turns(list(renewals), settings.rounds):
            for name in order:
                passes[name].append(_pass(runner, observer, renewals[name]))
        runner.run(stack.aclose())
        runner.run(client.aclose())
        return [_row(name, settings.leases, several) for name, several in passes.items()]


def _names(settings: LockSettings) -> list[str]:
    name = contenders.new_name()
    return [f"{name}:{number}" for number in range(settings.leases)]


def _pass(runner: asyncio.Runner, observer: redis.Redis, renew: Renew) -> Pass:
    def act() -> None:
        runner.run(renew())

    wall, cpu = time.monotonic(), time.process_time()
    spent = cost(observer, act)
    return Pass(spent.scripts, time.process_time() - cpu, time.monotonic() - wall, spent.total_us / MICRO)


def _row(name: str, leases: int, several: list[Pass]) -> Row:
    cpu = statistics.median(each.cpu for each in several)
    trips = statistics.median(each.round_trips for each in several)
    return {
        "name": name,
        "leases": leases,
        "round_trips": float(trips),
        "cpu_ms": 1000 * cpu,
        "wall_ms": 1000 * statistics.median(each.wall for each in several),
        "server_ms": 1000 * statistics.median(each.server for each in several),
        "round_trips_per_s": trips / EVERY,
        "cpu_percent": 100 * cpu / EVERY,
    }
