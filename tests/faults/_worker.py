"""One replica as an OS process: prints what the server told it, a JSON line an event."""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any

import redis

import riskscale.sync
from riskscale import Limit
from riskscale.rate.limit import Algorithm


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


def reservations(hub: riskscale.sync.Hub, burst: int, rounds: int) -> None:
    """Book ahead, beside the others, and change one's mind; what is said at the end is what still counts."""
    random, made = Random(), list[riskscale.sync.Reservation]()
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


def main() -> None:
    url, prefix, what, *rest = sys.argv[1:]
    hub = riskscale.sync.Hub(redis.Redis.from_url(url), key_prefix=prefix)
    say(event="ready")
    sys.stdin.readline()  # all start together
    if what == "locks":
        locks(hub, int(rest[0]), float(rest[1]), rest[2:] == ["keep"])
    elif what == "reservations":
        reservations(hub, int(rest[0]), int(rest[1]))
    else:
        rates(hub, int(rest[0]), float(rest[1]), rest[2], int(rest[3]))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
