"""The operations compared, one closure each: all by one client, all admitted, on keys that outlive the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Final, cast

import limits
import limits.aio
import redis
import redis.asyncio
import throttled
import throttled.asyncio

import riskscale
import riskscale.sync
from riskscale.rate.limit import ALGORITHMS, Limit

COUNT: Final = 1_000_000
DAY: Final = 86_400
BATCH: Final = 100
LIBRARIES: Final = ("limits", "throttled-py", "redis-py")

Operation = Callable[[], object]
AsyncOperation = Callable[[], Awaitable[object]]

_LIMITS: Final = {
    "moving window": "MovingWindowRateLimiter",
    "fixed window": "FixedWindowRateLimiter",
    "sliding window": "SlidingWindowCounterRateLimiter",
}
_THROTTLED: Final = ("gcra", "fixed_window", "sliding_window", "token_bucket", "leaking_bucket")


def ours(client: redis.Redis) -> dict[str, Operation]:
    """This library's, by name."""
    hub = riskscale.sync.Hub(client, key_prefix="bench:")
    found: dict[str, Operation] = {}
    for algorithm in ALGORITHMS:
        limiter = riskscale.sync.RateLimiter(hub, Limit(COUNT, per=DAY, algorithm=algorithm))
        found[f"riskscale {algorithm}"] = lambda each=limiter: each.hit("tenant")  # type: ignore[misc]
    return {**found, "riskscale lock cycle": cycle(riskscale.sync.Lock(hub, "job", ttl=60))}


def cycle(lock: AbstractContextManager[object]) -> Operation:
    """Take a lock that is free, let it go; one object, used again and again."""

    def act() -> None:
        with lock:
            pass

    return act


def batches(client: redis.Redis) -> dict[str, Operation]:
    """This library's ``hit_many`` of a hundred keys, by name."""
    hub = riskscale.sync.Hub(client, key_prefix="bench:")
    tenants = [f"tenant-{number}" for number in range(BATCH)]
    found: dict[str, Operation] = {}
    for algorithm in ALGORITHMS:
        limiter = riskscale.sync.RateLimiter(hub, Limit(COUNT, per=DAY, algorithm=algorithm))
        found[f"riskscale {algorithm} hit_many {BATCH}"] = lambda each=limiter: each.hit_many(tenants)  # type: ignore[misc]
    return found


def rivals(url: str, client: redis.Redis) -> dict[str, Operation]:
    """The other libraries' blocking operations, by name."""
    storage = limits.storage.RedisStorage(url, connection_pool=client.connection_pool)
    item = limits.RateLimitItemPerDay(COUNT)
    found: dict[str, Operation] = {}
    for name, strategy in _LIMITS.items():
        limiter = getattr(limits.strategies, strategy)(storage)
        found[f"limits {name}"] = lambda each=limiter, key=name: each.hit(item, key)  # type: ignore[misc]
    store = throttled.RedisStore(server=url)
    store._backend._client = cast(Any, client)  # it takes none
    for using in _THROTTLED:
        one = throttled.Throttled(key="tenant", using=using, quota=throttled.per_day(COUNT), store=store)
        found[f"throttled-py {using}"] = one.limit
    return {**found, "redis-py lock cycle": cycle(client.lock("bench:redis-py", timeout=60, thread_local=False))}


def ours_async(client: Any) -> dict[str, AsyncOperation]:
    """This library's asyncio operations, by name."""
    hub = riskscale.Hub(client, key_prefix="bench:")
    found: dict[str, AsyncOperation] = {}
    for algorithm in ALGORITHMS:
        limiter = riskscale.RateLimiter(hub, Limit(COUNT, per=DAY, algorithm=algorithm))
        found[f"riskscale {algorithm}"] = lambda each=limiter: each.hit("tenant")  # type: ignore[misc]
    return found


def rivals_async(url: str, client: Any) -> dict[str, AsyncOperation]:
    """The other libraries' asyncio operations, by name."""
    storage = limits.aio.storage.RedisStorage(
        f"async+{url}", implementation="redispy", connection_pool=client.connection_pool
    )
    item = limits.RateLimitItemPerDay(COUNT)
    found: dict[str, AsyncOperation] = {}
    for name, strategy in _LIMITS.items():
        limiter = getattr(limits.aio.strategies, strategy)(storage)
        found[f"limits {name}"] = lambda each=limiter, key=name: each.hit(item, key)  # type: ignore[misc]
    store = throttled.asyncio.RedisStore(server=url)
    store._backend._client = client  # it takes none
    for using in ("gcra", "sliding_window"):
        one = throttled.asyncio.Throttled(key="tenant", using=using, quota=throttled.per_day(COUNT), store=store)
        found[f"throttled-py {using}"] = one.limit
    return found
