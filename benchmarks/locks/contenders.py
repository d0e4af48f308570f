"""The locks compared: makers of lock objects, a new one for each waiter, all entered by ``with``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import pottery
import redis
import redis_lock

import riskscale
import riskscale.sync
from benchmarks.rounds import Settings

TTL: Final = 60
"""Seconds, of every lease; none ends while it is measured."""
LIBRARIES: Final = ("redis-py", "python-redis-lock", "pottery")

Maker = Callable[[], AbstractContextManager[object]]
AsyncMaker = Callable[[], AbstractAsyncContextManager[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSettings(Settings):
    """How much is measured of locks.

    Attributes:
        waiters: how many contend for one lock, a table row each; multiples of ``processes``.
        processes: among which they are shared out.
        hand_overs: of one turn.
        leases: held by one process.
    """

    rounds: int = 7
    largest: int = 10_000
    callers: tuple[int, ...] = (1,)
    waiters: tuple[int, ...] = (10, 100)
    processes: int = 10
    hand_overs: int = 30
    leases: int = 10_000

    @classmethod
    def short(cls) -> LockSettings:
        """Nothing but the order of magnitude."""
        return cls(rounds=1, slice_s=0.02, calls=20, largest=1000, processes=2, hand_overs=6, leases=1000)


def new_name() -> str:
    """Of a lock that nobody had before."""
    return f"bench-{secrets.token_hex(6)}"


def blocking(hub: riskscale.sync.Hub, client: redis.Redis, name: str) -> dict[str, Maker]:
    """For threads, by library."""
    return {
        "riskscale": lambda: riskscale.sync.Lock(hub, name, ttl=TTL),
        "redis-py": lambda: client.lock(name, timeout=TTL),
        "python-redis-lock": lambda: redis_lock.Lock(client, name, expire=TTL),
        "pottery": lambda: pottery.Redlock(key=name, masters={client}, auto_release_time=TTL),
    }


def concurrent(hub: riskscale.Hub, client: Any, name: str) -> dict[str, AsyncMaker]:
    """For asyncio, by library; python-redis-lock has none."""
    return {
        "riskscale": lambda: riskscale.Lock(hub, name, ttl=TTL),
        "redis-py": lambda: client.lock(name, timeout=TTL),
        "pottery": lambda: pottery.AIORedlock(key=name, masters={client}, auto_release_time=TTL),
    }
