"""One replica as an OS process, whose threads share a bulkhead: prints what the server stamped, a JSON line each."""

from __future__ import annotations

import json
import random
import sys
import threading
from typing import Any

import redis

from riskscale import BulkheadFull
from riskscale.sync import Hub, SharedBulkhead

SAYS = threading.Lock()


def say(**event: Any) -> None:
    with SAYS:
        print(json.dumps(event), flush=True)


def work(bulkhead: SharedBulkhead, limit: int, rounds: int, weights: list[int], keep: bool) -> None:
    """Hold a place again and again; or keep it until the end comes."""
    for _ in range(rounds):
        weight = random.choice(weights)
        try:
            with bulkhead.hold(weight=weight) as lease:
                say(event="held", fence=lease.fence, at=lease.at, weight=weight, limit=limit)
                if keep:
                    sys.stdin.readline()
            say(event="released", fence=lease.fence, at=lease.released_at)
        except BulkheadFull:
            say(event="full")


def main() -> None:
    url, prefix, limit, max_queued, ttl, threads, rounds, weights, *keep = sys.argv[1:]
    hub = Hub(redis.Redis.from_url(url), key_prefix=prefix)
    bulkhead = SharedBulkhead(hub, "db", int(limit), int(max_queued), ttl=float(ttl))
    say(event="ready")
    sys.stdin.readline()  # all start together
    heavy = [int(weight) for weight in weights.split(",")]
    crowd = [
        threading.Thread(target=work, args=(bulkhead, int(limit), int(rounds), heavy, keep == ["keep"]))
        for _ in range(int(threads))
    ]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    hub.close()


if __name__ == "__main__":
    main()
