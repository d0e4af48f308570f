"""A Python process among those of other languages, on the package's own surface: one answer a line, as a harness."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import redis

from riskscale import BreakerPolicy, Limit
from riskscale.sync import CircuitBreaker, Hub, Lock, RateLimiter

LIMIT = Limit(20, per=1)
LOCK_TTL = 30
POLICY = BreakerPolicy(failure_rate=0.5, minimum_calls=7, open_seconds=600, flush_failures=1, refresh_seconds=0.1)
"""It takes a failure of each of seven."""


def fails() -> None:
    raise OSError("the dependency is down")


class Worker:
    def __init__(self, hub: Hub) -> None:
        self.limiter = RateLimiter(hub, LIMIT, name="api")
        self.lock = Lock(hub, "together", ttl=LOCK_TTL, wait=60)
        self.breaker = CircuitBreaker(name="together", policy=POLICY, redis=hub)

    def hit(self) -> list[int]:
        """When it was decided, and how long to wait, in microseconds."""
        decision = self.limiter.hit("tenant-7")
        return [round(decision.at * 1e6), round(decision.retry_after * 1e6)]

    def hold(self) -> list[int]:
        """The fence, when it was taken and when it was let go."""
        with self.lock as lease:
            pass
        assert lease.released_at is not None
        return [lease.fence, round(lease.at * 1e6), round(lease.released_at * 1e6)]

    def fail(self) -> None:
        with suppress(OSError):
            self.breaker.call(fails)

    def state(self) -> str:
        """As this process sees it, without a call."""
        return self.breaker.state.value


def main() -> None:
    with redis.Redis.from_url(sys.argv[1]) as client, Hub(client) as hub:
        worker = Worker(hub)
        for line in sys.stdin:
            reply: Any = getattr(worker, json.loads(line)["method"])()
            print(json.dumps({"reply": reply}), flush=True)


if __name__ == "__main__":
    main()
