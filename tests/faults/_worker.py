"""One replica as an OS process: prints what the server told it, a JSON line an event."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import redis
import redis.asyncio

import riskscale.sync
from riskscale import Limit
from riskscale.rate.limit import ALGORITHMS
from tests.faults._traffic import asynchronous, blocking


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def locks(hub: riskscale.sync.Hub, rounds: int, ttl: float, keep: bool) -> None:
    """Hold one lock again and again, waiting for it like anybody; or keep it until the end comes."""
    for _ in range(rounds):
        lease = riskscale.sync.Lock(hub, "job", ttl=ttl).acquire()
        assert lease is not None
        say(event="held", at=lease.at, fence=lease.fence, ttl=ttl)
        if keep:
            sys.stdin.readline()
        try:
            lease.release()
            say(event="released", at=lease.released_at, fence=lease.fence)
        except riskscale.LeaseLost:
            say(event="lost", fence=lease.fence)


def rates(hub: riskscale.sync.Hub, count: int, per: float, rounds: int) -> None:
    """Hit a key under each algorithm, as fast as it goes."""
    limiters = [riskscale.sync.RateLimiter(hub, Limit(count, per=per, algorithm=each)) for each in ALGORITHMS]
    for _ in range(rounds):
        for limiter in limiters:
            admitted(limiter.hit("tenant"))


async def rates_of_tasks(url: str, prefix: str, count: int, per: float, rounds: int, coalesce: bool) -> None:
    """The same of sixteen tasks an algorithm, with and without travelling together."""

    async def hits(limiter: riskscale.RateLimiter) -> None:
        for _ in range(rounds // 16):
            admitted(await limiter.hit("tenant"))

    async with redis.asyncio.Redis.from_url(url) as client, riskscale.Hub(client, key_prefix=prefix) as hub:
        limits = [Limit(count, per=per, algorithm=algorithm) for algorithm in ALGORITHMS]
        limiters = [riskscale.RateLimiter(hub, limit, coalesce=coalesce) for limit in limits]
        await asyncio.gather(*(hits(limiter) for limiter in limiters for _ in range(16)))


def admitted(decision: riskscale.Decision) -> None:
    if decision:
        say(event="admitted", algorithm=decision.limit.algorithm, at=decision.at)


def main() -> None:
    url, prefix, what, *rest = sys.argv[1:]
    hub = riskscale.sync.Hub(redis.Redis.from_url(url), key_prefix=prefix)
    say(event="ready")
    sys.stdin.readline()  # all start together
    match what, rest:
        case "locks", [rounds, ttl, *keep]:
            locks(hub, int(rounds), float(ttl), keep == ["keep"])
        case "rates", [count, per, rounds, "blocking"]:
            rates(hub, int(count), float(per), int(rounds))
        case "rates", [count, per, rounds, how]:
            asyncio.run(rates_of_tasks(url, prefix, int(count), float(per), int(rounds), how == "coalesced"))
        case "traffic", ["blocking"]:
            blocking(url, prefix, say)
        case "traffic", ["asyncio"]:
            asyncio.run(asynchronous(url, prefix, say))


if __name__ == "__main__":
    main()
