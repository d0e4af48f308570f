"""The limiters compared, each as one function of a key and a cost: a million a day, all admitted, by one client."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import limits
import limits.aio
import pyrate_limiter as pyrate
import redis
import redis.asyncio
import throttled
import throttled.asyncio
from pyrate_limiter.buckets.redis_bucket import LuaScript

import riskscale
import riskscale.sync
from benchmarks.client_side import AsyncOperation, Operation
from benchmarks.rounds import Settings
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit

COUNT: Final = 1_000_000
DAY: Final = 86_400
BATCH: Final = 100
TENANTS: Final = [f"tenant-{number}" for number in range(256)]
"""Whose requests come in turn: those that travel together are of several tenants."""
LIBRARIES: Final = ("limits", "throttled-py", "pyrate-limiter", "aiolimiter", "redis-py")

Hit = Callable[[str, int], object]
"""Asks for units of a key; true if it gets them."""
AsyncHit = Callable[[str, int], Awaitable[object]]

LIMITS: Final = {
    "moving window": "MovingWindowRateLimiter",
    "fixed window": "FixedWindowRateLimiter",
    "sliding window": "SlidingWindowCounterRateLimiter",
}
THROTTLED: Final = ("gcra", "fixed_window", "sliding_window", "token_bucket", "leaking_bucket")
PYRATE: Final = ("log", "gcra")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSettings(Settings):
    """How much is measured of limits.

    Attributes:
        samples: calls of one turn that are timed one by one.
    """

    rounds: int = 7
    slice_s: float = 0.08
    callers: tuple[int, ...] = (1, 8, 64, 256)
    samples: int = 30

    @classmethod
    def short(cls) -> RateSettings:
        """A look in seconds: nothing but the order of magnitude."""
        return cls(rounds=3, slice_s=0.02, calls=50, callers=(1, 64), largest=10_000, samples=5)


def patient(url: str) -> redis.Redis:
    """A client that waits for as long as a million units take, and does not ask for them again."""
    return redis.Redis.from_url(url, socket_timeout=None)


def in_turn(hit: Hit) -> Operation:
    """One unit of one tenant after the other; each was there before, since a first request may cost more."""
    for tenant in TENANTS:
        hit(tenant, 1)
    following = itertools.cycle(TENANTS)
    return lambda: hit(next(following), 1)


def in_turn_async(hit: AsyncHit) -> AsyncOperation:
    """The same for asyncio."""
    following = itertools.cycle(TENANTS)
    return lambda: hit(next(following), 1)


def ours(client: redis.Redis, count: int = COUNT) -> dict[str, Hit]:
    """This library's, by name."""
    hub = riskscale.sync.Hub(client, key_prefix="bench:")
    return {
        f"riskscale {each}": riskscale.sync.RateLimiter(hub, Limit(count, per=DAY, algorithm=each)).hit
        for each in ALGORITHMS
    }


def ours_async(hub: riskscale.Hub) -> dict[str, AsyncHit]:
    """This library's for asyncio, by name."""
    return {f"riskscale {each}": riskscale.RateLimiter(hub, _limit(each)).hit for each in ALGORITHMS}


def uncoalesced(hub: riskscale.Hub) -> dict[str, AsyncHit]:
    """Two of them, each hit a call of its own."""
    return {
        f"riskscale {each}, coalesce=False": riskscale.RateLimiter(hub, _limit(each), coalesce=False).hit
        for each in ("sliding_log", "gcra")
    }


def batches(client: redis.Redis) -> dict[str, Operation]:
    """This library's ``hit_many`` of a hundred keys, by name."""
    hub = riskscale.sync.Hub(client, key_prefix="bench:")
    limiters = {each: riskscale.sync.RateLimiter(hub, _limit(each)) for each in ALGORITHMS}
    return {f"riskscale {name}": partial(each.hit_many, TENANTS[:BATCH]) for name, each in limiters.items()}


def batches_async(hub: riskscale.Hub) -> dict[str, AsyncOperation]:
    """The same for asyncio."""
    limiters = {each: riskscale.RateLimiter(hub, _limit(each)) for each in ALGORITHMS}
    return {f"riskscale {name}": partial(each.hit_many, TENANTS[:BATCH]) for name, each in limiters.items()}


def rivals(url: str, client: redis.Redis, count: int = COUNT) -> dict[str, Hit]:
    """The other libraries', by name."""
    storage = limits.storage.RedisStorage(url, connection_pool=client.connection_pool)
    item = limits.RateLimitItemPerDay(count)
    found: dict[str, Hit] = {}
    for name, strategy in LIMITS.items():
        limiter = getattr(limits.strategies, strategy)(storage)
        found[f"limits {name}"] = lambda key, cost, hit=limiter.hit, at=name: hit(item, at, key, cost=cost)  # type: ignore[misc]
    store = throttled.RedisStore(server=url)
    store._backend._client = cast(Any, client)  # it takes none
    for using in THROTTLED:
        limit = throttled.Throttled(key="-", using=using, quota=throttled.per_day(count), store=store).limit
        found[f"throttled-py {using}"] = lambda key, cost, limit=limit: not limit(key, cost).limited  # type: ignore[misc]
    client.script_load(LuaScript.PUT_ITEM)
    return found | _pyrate(client, count)


def rivals_async(url: str, client: Any) -> dict[str, AsyncHit]:
    """The other libraries' for asyncio, by name."""
    storage = limits.aio.storage.RedisStorage(
        f"async+{url}", implementation="redispy", connection_pool=client.connection_pool
    )
    item = limits.RateLimitItemPerDay(COUNT)
    found: dict[str, AsyncHit] = {}
    for name, strategy in LIMITS.items():
        limiter = getattr(limits.aio.strategies, strategy)(storage)
        found[f"limits {name}"] = lambda key, cost, hit=limiter.hit, at=name: hit(item, at, key, cost=cost)  # type: ignore[misc]
    store = throttled.asyncio.RedisStore(server=url)
    store._backend._client = client  # it takes none
    for using in ("gcra", "sliding_window"):
        one = throttled.asyncio.Throttled(key="-", using=using, quota=throttled.per_day(COUNT), store=store)
        found[f"throttled-py {using}"] = one.limit
    with redis.Redis.from_url(url) as loader:
        loader.script_load(LuaScript.PUT_ITEM)
    return found | _pyrate(client, COUNT)


class Buckets(pyrate.BucketFactory):
    """A bucket object for each tenant. Logs are not swept meanwhile: nothing leaves their window."""

    def __init__(self, client: Any, algorithm: str, count: int) -> None:
        self._client, self._algorithm = client, algorithm
        self._rates = [pyrate.Rate(count, pyrate.Duration.DAY)]
        self._digest = hashlib.sha1(LuaScript.PUT_ITEM.encode()).hexdigest()
        self._clock = pyrate.WallClock()
        self._buckets: dict[str, pyrate.AbstractBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> pyrate.RateItem:
        """Stamped with the time, as it asks of whoever writes a factory."""
        return pyrate.RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: pyrate.RateItem) -> pyrate.AbstractBucket:
        """The tenant's own."""
        bucket = self._buckets.get(item.name)
        if bucket is None:
            bucket = self._buckets[item.name] = self._made(f"pyrate:{self._algorithm}:{item.name}")
        return bucket

    def _made(self, key: str) -> pyrate.AbstractBucket:
        if self._algorithm == "gcra":
            return pyrate.StateBucket(self._rates, pyrate.GCRA(), pyrate.RedisStateStore(self._client, key))
        return pyrate.RedisBucket(self._rates, self._client, key, self._digest)


def _pyrate(client: Any, count: int) -> dict[str, Any]:
    """One call of it does for both kinds of client: an asyncio one makes it an awaitable."""
    found = {}
    for algorithm in PYRATE:
        limiter = pyrate.Limiter(Buckets(client, algorithm, count))
        found[f"pyrate-limiter {algorithm}"] = partial(limiter.try_acquire, blocking=False)
    return found


def _limit(algorithm: Algorithm) -> Limit:
    return Limit(COUNT, per=DAY, algorithm=algorithm)
