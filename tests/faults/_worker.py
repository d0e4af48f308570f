"""One replica as an OS process: prints what the server told it, a JSON line an event."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
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


def reservations(hub: riskscale.sync.Hub, burst: int, rounds: int) -> None:
    """Book ahead, beside the others, and change one's mind; what is said at the end is what still counts."""
    made = list[riskscale.sync.Reservation]()
    limiter = riskscale.sync.RateLimiter(hub, Limit(1, per=1, algorithm="gcra", burst=burst))
    for _ in range(rounds):
        made.append(limiter.reserve("tenant", random.randint(1, burst)))
        if random.random() < 0.5:
            reservation = made.pop(random.randrange(len(made)))
            actual = random.randint(0, reservation.decision.cost)
            reservation.settle(actual)
            say(event="settled", start=reservation.start, units=actual)
    for reservation in made:
        say(event="kept", start=reservation.start, units=reservation.decision.cost)
    sys.stdin.readline()


def leases(hub: riskscale.sync.Hub, count: int, per: float, seconds: float, folder: str) -> None:
    """Spend what is borrowed of a limit of each algorithm; every unit used is in a file at once, with what is left."""
    limiters = {
        algorithm: riskscale.sync.LeasedRateLimiter(
            hub, Limit(count, per=per, algorithm=algorithm), max_lease=count // 4
        )
        for algorithm in ALGORITHMS
    }
    until = time.monotonic() + seconds
    with Path(folder, str(os.getpid())).open("wb", buffering=0) as file:
        while time.monotonic() < until:
            for algorithm, limiter in limiters.items():
                began = time.time()
                decision = limiter.hit("tenant")
                ended = time.time()
                if decision:
                    allowance = limiter._allowances.get("tenant")
                    left = sum(loan.left for loan in allowance.loans) if allowance else 0
                    file.write(f"{algorithm} {began:.6f} {ended:.6f} {left}\n".encode())
            time.sleep(random.random() / 500)
    hub.close()


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
        case "reservations", [burst, rounds]:
            reservations(hub, int(burst), int(rounds))
        case "leases", [count, per, seconds, folder]:
            leases(hub, int(count), float(per), float(seconds), folder)
        case "traffic", ["blocking"]:
            blocking(url, prefix, say)
        case "traffic", ["asyncio"]:
            asyncio.run(asynchronous(url, prefix, say))


if __name__ == "__main__":
    main()
