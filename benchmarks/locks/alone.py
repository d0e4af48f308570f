"""Take and let go a lock that nobody else wants, beside as many bare EVALSHA of the same shape."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import redis
import redis.asyncio

import riskscale
import riskscale.sync
from benchmarks.client_side import beside_bare, beside_bare_async
from benchmarks.contenders import AsyncOperation, cycle
from benchmarks.locks import contenders
from benchmarks.locks.contenders import LockSettings
from benchmarks.report import Row


def blocking(url: str, settings: LockSettings) -> list[Row]:
    """One thread, one connection."""
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client) as hub:
        makers = contenders.blocking(hub, client, contenders.new_name())
        return beside_bare(client, {name: cycle(make()) for name, make in makers.items()}, settings)


def concurrent(url: str, settings: LockSettings) -> list[Row]:
    """One event loop, one caller."""
    with asyncio.Runner() as runner, redis.Redis.from_url(url) as observer:
        client = redis.asyncio.Redis.from_url(url)
        hub = riskscale.Hub(client)
        makers = contenders.concurrent(hub, client, contenders.new_name())
        acts = {name: _cycle(make()) for name, make in makers.items()}
        rows = beside_bare_async(runner, client, observer, acts, settings)
        runner.run(hub.aclose())
        runner.run(client.aclose())
        return rows


def _cycle(lock: AbstractAsyncContextManager[object]) -> AsyncOperation:
    async def act() -> None:
        async with lock:
            pass

    return act
