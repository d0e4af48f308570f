"""One replica as an OS process: prints what the server told it, a JSON line an event."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import redis

import riskscale.sync
from riskscale import Limit
from riskscale.rate.limit import ALGORITHMS, Algorithm


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


def rates(hub: riskscale.sync.Hub, count: int, per: float, algorithm: Algorithm, rounds: int) -> None:
    """Hit one key as fast as it goes."""
    limiter = riskscale.sync.RateLimiter(hub, Limit(count, per=per, algorithm=algorithm))
    for _ in range(rounds):
        decision = limiter.hit("tenant")
        if decision:
            say(event="admitted", at=decision.at)
    say(event="done")


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
    if what == "locks":
        locks(hub, int(rest[0]), float(rest[1]), rest[2:] == ["keep"])
    elif what == "leases":
        leases(hub, int(rest[0]), float(rest[1]), float(rest[2]), rest[3])
    else:
        rates(hub, int(rest[0]), float(rest[1]), rest[2], int(rest[3]))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
