"""Take and let go a lock that nobody else wants, beside as many bare EVALSHA of the same shape."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AbstractContextManager

import redis
import redis.asyncio

import riskscale
import riskscale.sync
from benchmarks.client_side import AsyncOperation, Operation, beside_bare, beside_bare_async
from benchmarks.locks import contenders
from benchmarks.locks.contenders import LockSettings
from benchmarks.report import Row
from benchmarks.server_time import Subject, beside_get_and_set


def blocking(url: str, settings: LockSettings) -> list[Row]:
    """One thread, one connection."""
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client) as hub:
        makers = contenders.blocking(hub, client, contenders.new_name())
        return beside_bare(client, {name: _cycle(make()) for name, make in makers.items()}, settings)


def concurrent(url: str, settings: LockSettings) -> list[Row]:
    """One event loop, one caller."""
    with asyncio.Runner() as runner, redis.Redis.from_url(url) as observer:
        client = redis.asyncio.Redis.from_url(url)
        hub = riskscale.Hub(client)
        makers = contenders.concurrent(hub, client, contenders.new_name())
        acts = {name: _cycle_async(make()) for name, make in makers.items()}
        rows = beside_bare_async(runner, client, observer, acts, settings)
        runner.run(hub.aclose())
        runner.run(client.aclose())
        return rows


def server_time(url: str, settings: LockSettings) -> list[Row]:
    """Per script, beside one of a GET and a SET. (Others mix scripts and commands, whose times do not add up.)"""
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client) as hub:
        lock = contenders.blocking(hub, client, contenders.new_name())["riskscale"]()
        return beside_get_and_set(client, [Subject("riskscale acquire, release", _cycle(lock), 2)], settings)


def _cycle(lock: AbstractContextManager[object]) -> Operation:
    """Take it, let it go; one object, used again and again."""

    def act() -> None:
        with lock:
            pass

    return act


def _cycle_async(lock: AbstractAsyncContextManager[object]) -> AsyncOperation:
    async def act() -> None:
        async with lock:
            pass

    return act
