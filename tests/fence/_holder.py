"""A holder as an OS process, for its parent to stop between its look at the lease and its write."""

from __future__ import annotations

import json
import sys
from typing import Any

import redis

import riskscale.sync


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def main() -> None:
    url, prefix, ttl, how = sys.argv[1:]
    client = redis.Redis.from_url(url)
    hub = riskscale.sync.Hub(client, key_prefix=prefix)
    guard = riskscale.sync.Guard(hub, "report")
    lock, looked = riskscale.sync.Lock(hub, "report", ttl=float(ttl)), 0.0
    while not looked:  # on a machine that sleeps longer than the lease at this very place, once more
        lease = lock.acquire()
        assert lease is not None
        looked = lease.remaining()
    say(event="held", fence=lease.fence, looked=looked)
    sys.stdin.readline()  # here it is stopped
    left = lease.remaining()
    try:
        if how == "plain":
            client.set(guard.key, "sleeper")
        elif how == "write":
            guard.write("sleeper", fence=lease.fence)
        else:
            guard.read(fence=lease.fence)
        say(event="wrote", left=left)
    except riskscale.StaleFence as error:
        say(event="refused", left=left, fence=error.fence, mark=error.mark)


if __name__ == "__main__":
    main()
