"""A replica that hits all the time: ``python -m tests.limits._replica URL PREFIX asyncio|threads SEED LAST``.

It says ``ready``, each new count that it goes by, and at its end for each count when, by the server's clock, it last
*began* a hit that still went by it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

import redis
import redis.asyncio

import riskscale.sync
from riskscale import Limit
from riskscale.limits.known import Known

FIRST = Limit(10**6, per=3600, algorithm="fixed_window")
KEY = "tenant-7"
PATIENCE = 60.0
"""A loaded machine may take longer to answer than a replica waits, and then the last known would go on."""


class Seen:
    """What one replica went by."""

    def __init__(self, last: int, chance: random.Random) -> None:
        self.last, self.chance = last, chance
        self.began: dict[int, float] = {}

    def note(self, began: tuple[int, int], count: int) -> bool:
        """A hit that began at this time of the server was decided by a limit of ``count``; whether it is new."""
        is_new = count not in self.began
        self.began[count] = began[0] + began[1] / 1e6
        return is_new

    def pauses(self) -> Iterator[float]:
        """Short ones, and now and then one after which nothing is fresh; until the last change was seen."""
        while self.last not in self.began:
            yield self.chance.choice([0.0, 0.0, 0.001, 0.02, 0.1, 0.6, 1.1])


async def follow(hub: riskscale.Hub, client: Any, seen: Seen, tell: Any = lambda count: None) -> None:
    limiter = riskscale.RateLimiter(hub, riskscale.RedisLimits(hub, "api", default=FIRST), name="api")
    for pause in seen.pauses():
        began = await client.time()
        count = (await limiter.hit(KEY)).limits[0].count
        if seen.note(began, count):
            tell(count)
        await asyncio.sleep(pause)


def follow_in_a_thread(hub: riskscale.sync.Hub, client: Any, seen: Seen, tell: Any) -> None:
    limits = riskscale.sync.RedisLimits(hub, "api", default=FIRST)
    limiter = riskscale.sync.RateLimiter(hub, limits, name="api")
    for pause in seen.pauses():
        began = client.time()
        count = limiter.hit(KEY).limits[0].count
        if seen.note(began, count):
            tell(count)
        time.sleep(pause)


async def main(url: str, prefix: str, seen: Seen) -> None:
    async with redis.asyncio.Redis.from_url(url) as client, riskscale.Hub(client, key_prefix=prefix) as hub:
        await follow(hub, client, seen, lambda count: print(count, flush=True))


def main_in_a_thread(url: str, prefix: str, seen: Seen) -> None:
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client, key_prefix=prefix) as hub:
        follow_in_a_thread(hub, client, seen, lambda count: print(count, flush=True))


if __name__ == "__main__":
    url, prefix, kind, seed, last = sys.argv[1:]
    Known.patience = PATIENCE
    seen = Seen(int(last), random.Random(int(seed)))
    if kind == "asyncio":
        asyncio.run(main(url, prefix, seen))
    else:
        main_in_a_thread(url, prefix, seen)
    print(json.dumps(seen.began), flush=True)
