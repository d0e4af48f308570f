"""A replica's traffic under each ``on_error`` at once, from asyncio or from threads, until its standard input ends."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import redis
import redis.asyncio

import riskscale.sync
from riskscale import Decision, Hub, Limit, RateLimiter
from riskscale.rate.fallback import OnError, gone

LIMIT = Limit(40, per=1)
REPLICAS = 4
BUDGET = 0.05
PAUSE = 0.02
POLICIES: tuple[OnError, ...] = get_args(OnError)
Say = Callable[..., None]


def options(policy: OnError) -> dict[str, Any]:
    """Of a limiter."""
    return {"name": policy, "on_error": policy, "replicas": REPLICAS if policy == "local" else None}


def told(say: Say, policy: OnError, before: float, outcome: Decision | Exception) -> None:
    """``before`` and ``after`` on the clock that all processes of this machine share."""
    event: dict[str, Any] = {"policy": policy, "before": before, "after": time.monotonic()}
    if isinstance(outcome, Decision):
        event |= {"allowed": outcome.allowed, "degraded": outcome.degraded, "at": outcome.at}
    else:
        event |= {"error": type(outcome).__name__}
    say(**event)


def blocking(url: str, prefix: str, say: Say) -> None:
    """One thread a policy."""
    client = redis.Redis.from_url(url, socket_timeout=BUDGET, socket_connect_timeout=BUDGET)
    hub = riskscale.sync.Hub(client, key_prefix=prefix)
    ended, mutex = threading.Event(), threading.Lock()

    def say_alone(**event: Any) -> None:
        with mutex:
            say(**event)

    def hits(policy: OnError) -> None:
        limiter = riskscale.sync.RateLimiter(hub, LIMIT, **options(policy))
        while not ended.wait(PAUSE):
            before = time.monotonic()
            try:
                told(say_alone, policy, before, limiter.hit("tenant"))
            except gone() as error:
                told(say_alone, policy, before, error)

    threads = [threading.Thread(target=hits, args=(policy,)) for policy in POLICIES]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()


async def asynchronous(url: str, prefix: str, say: Say) -> None:
    """Two tasks a policy."""
    ended = asyncio.Event()
    threading.Thread(
        target=lambda loop: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)),
        args=(asyncio.get_running_loop(),),
        daemon=True,
    ).start()

    async def hits(policy: OnError, hit: Callable[[str], Awaitable[Decision]]) -> None:
        while not ended.is_set():
            before = time.monotonic()
            try:
                told(say, policy, before, await hit("tenant"))
            except gone() as error:
                told(say, policy, before, error)
            await asyncio.sleep(PAUSE)

    async with redis.asyncio.Redis.from_url(url) as client, Hub(client, key_prefix=prefix) as hub:
        limiters = [RateLimiter(hub, LIMIT, timeout=BUDGET, **options(policy)) for policy in POLICIES]
        pairs = [*zip(POLICIES, limiters, strict=True)] * 2
        await asyncio.gather(*(hits(policy, limiter.hit) for policy, limiter in pairs))
