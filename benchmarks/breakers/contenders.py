"""The breakers compared: guards of asyncio calls, all of one name sharing a breaker through the server.

All open after so many failures in a row: by a window of as many calls where a library counts no other way.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import aiobreaker
import aiobreaker.storage.redis
import interlock
import interlock.integrations.redis
import purgatory
import purgatory.domain.model
import pybreaker
import redis
import redis.asyncio

import riskscale
import riskscale.sync
from benchmarks.rounds import Settings
from riskscale.breaker.breaker import CircuitBreaker

FAILURES: Final = 5
LONG: Final = 600
"""Seconds open, where nothing is to end."""
LIBRARIES: Final = ("pybreaker", "purgatory", "interlock-cb", "aiobreaker")
OURS: Final = "riskscale"
NAMES: Final = (OURS, *LIBRARIES)
REFUSALS: Final = (
    riskscale.CircuitOpen,
    pybreaker.CircuitBreakerError,
    purgatory.domain.model.OpenedState,
    interlock.CircuitOpenError,
    aiobreaker.CircuitBreakerError,
)

logging.getLogger("riskscale").addHandler(logging.NullHandler())  # each change of each breaker is a warning

Func = Callable[[], Awaitable[object]]
Guard = Callable[[Func], Awaitable[object]]
SyncGuard = Callable[[Callable[[], object]], object]


class Down(Exception):
    """What a dependency says that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings(Settings):
    """How much is measured of breakers.

    Attributes:
        processes: replicas between which the news spreads.
        trips: how often, of ours.
        rival_trips: how often, of each of the others.
        replicas: that try at the same time.
        permits: of ours, a table row each.
        reports: sent to the server.
    """

    processes: int = 8
    trips: int = 100
    rival_trips: int = 20
    replicas: int = 20
    permits: tuple[int, ...] = (1, 5)
    reports: int = 10_000

    @classmethod
    def short(cls) -> BreakerSettings:
        """Nothing but the order of magnitude."""
        return cls(rounds=1, slice_s=0.02, calls=50, processes=3, trips=5, rival_trips=2, replicas=5, reports=1000)


def new_name() -> str:
    """Of a breaker that nobody had before."""
    return f"bench-{secrets.token_hex(6)}"


def failures_in_a_row(open_seconds: float = LONG, **more: Any) -> riskscale.BreakerPolicy:
    """Ours."""
    return riskscale.BreakerPolicy(consecutive_failures=FAILURES, open_seconds=open_seconds, **more)


def _config(open_seconds: float) -> interlock.Config:
    return interlock.Config(
        failure_rate_threshold=1.0,
        minimum_number_of_calls=FAILURES,
        window_size=FAILURES,
        wait_duration_in_open=open_seconds,
        permitted_calls_in_half_open=1,
    )


class Replica:
    """One replica, with connections of its own, in this event loop."""

    def __init__(self, url: str) -> None:
        self._url, self._stack = url, AsyncExitStack()
        self._client: Any = redis.asyncio.Redis.from_url(url)
        self._stack.push_async_callback(self._client.aclose)
        self._blocking = self._stack.enter_context(redis.Redis.from_url(url))
        self._factory: purgatory.AsyncCircuitBreakerFactory | None = None
        self.hub = riskscale.Hub(self._client)

    async def close(self) -> None:
        """End all connections and whatever goes on in the background."""
        await self.hub.aclose()
        await self._stack.aclose()

    async def forget(self) -> None:
        """Our breakers, which would report for ever."""
        await self.hub.aclose()
        self.hub = riskscale.Hub(self._client)

    async def listens(self) -> None:
        """Our subscription is confirmed."""
        while not self.hub.mailbox.channel:
            await asyncio.sleep(0.001)

    async def round_trips(self, count: int, pause: float) -> list[float]:
        """Seconds of each."""
        taken = []
        for _ in range(count):
            await asyncio.sleep(pause)
            start = time.monotonic()
            await self._client.ping()
            taken.append(time.monotonic() - start)
        return taken

    def ours(self, name: str, policy: riskscale.BreakerPolicy) -> Guard:
        """By that policy."""
        return CircuitBreaker(name=name, policy=policy, redis=self.hub).call

    async def guard(self, library: str, name: str, open_seconds: float = LONG) -> Guard:
        """Of that library."""
        if library == OURS:
            return self.ours(name, failures_in_a_row(open_seconds))
        make: Callable[[str, float], Awaitable[Guard]] = getattr(self, f"_{library.partition('-')[0]}")
        return await make(name, open_seconds)

    async def _pybreaker(self, name: str, open_seconds: float) -> Guard:
        storage = pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, self._blocking, namespace=name)
        breaker = pybreaker.CircuitBreaker(FAILURES, open_seconds, state_storage=storage)

        async def guarded(func: Func) -> object:
            with breaker.calling():  # its call_async needs tornado
                return await func()

        return guarded

    async def _purgatory(self, name: str, open_seconds: float) -> Guard:
        if self._factory is None:
            uow = purgatory.AsyncRedisUnitOfWork(self._url)
            self._factory = purgatory.AsyncCircuitBreakerFactory(uow=uow)
            await self._factory.initialize()
            self._stack.push_async_callback(uow.contexts.redis.aclose)
        factory = self._factory

        async def guarded(func: Func) -> object:
            async with await factory.get_breaker(name, FAILURES, open_seconds):
                return await func()

        return guarded

    async def _interlock(self, name: str, open_seconds: float) -> Guard:
        storage = interlock.integrations.redis.AsyncRedisStorage(self._client)
        breaker = interlock.CircuitBreaker(name=name, config=_config(open_seconds), storage=storage)
        self._stack.push_async_callback(breaker.aclose)
        return breaker.call_async

    async def _aiobreaker(self, name: str, open_seconds: float) -> Guard:
        closed = aiobreaker.CircuitBreakerState.CLOSED
        storage = aiobreaker.storage.redis.CircuitRedisStorage(closed, self._blocking, namespace=name)
        return aiobreaker.CircuitBreaker(FAILURES, timedelta(seconds=open_seconds), state_storage=storage).call_async


def blocking(hub: riskscale.sync.Hub, client: redis.Redis, name: str) -> dict[str, SyncGuard]:
    """For threads, by library."""
    storage = pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, client, namespace=name)
    of_interlock = interlock.integrations.redis.RedisStorage(client)
    breaker = interlock.CircuitBreaker(name=name, config=_config(LONG), storage=of_interlock)
    return {
        OURS: riskscale.sync.CircuitBreaker(name=name, policy=failures_in_a_row(), redis=hub).call,
        "riskscale, of one replica": riskscale.sync.CircuitBreaker(FAILURES, LONG).call,
        "pybreaker": pybreaker.CircuitBreaker(FAILURES, LONG, state_storage=storage).call,
        "interlock-cb": breaker.call_sync,
    }
