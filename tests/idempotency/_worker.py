"""One replica as an OS process, whose threads ask for the same work: says who did it, and what each got."""

from __future__ import annotations

import json
import sys
import threading
import time

import redis

from riskscale import LeaseLost
from riskscale.sync import Claim, Hub, IdempotencyGuard

PATIENCE = 30.0
CALL = "tenant-7", "key-1", b"pay 10 to bob"
SAYS = threading.Lock()


def say(**event: object) -> None:
    with SAYS:
        print(json.dumps(event), flush=True)


def waiters(client: redis.Redis, prefix: str) -> int:
    """How many wait to be told, beside the seven fields of an attempt."""
    return int(client.hlen(f"{prefix}rs1:{{key-1}}:idempotency:pay:tenant-7")) - 7  # type: ignore[arg-type]


def main() -> None:
    url, prefix, ttl, threads, crowd = sys.argv[1:]
    client = redis.Redis.from_url(url)
    hub = Hub(client, key_prefix=prefix)
    guard = IdempotencyGuard(hub, "pay", ttl=float(ttl))

    def work(claim: Claim) -> bytes:
        say(event="began", at=claim.at, fence=claim.fence, unknown=claim.unknown)
        give_up = time.monotonic() + PATIENCE
        while waiters(client, prefix) < int(crowd):
            assert time.monotonic() < give_up
            threading.Event().wait(0.005)
        return b"receipt of fence %d" % claim.fence

    def ask() -> None:
        try:
            say(event="got", response=guard.run(*CALL, work, wait=PATIENCE).decode())
        except LeaseLost:
            say(event="refused")

    say(event="ready")
    sys.stdin.readline()  # all start together
    callers = [threading.Thread(target=ask) for _ in range(int(threads))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    hub.close()


if __name__ == "__main__":
    main()
