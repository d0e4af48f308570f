"""A replica as an OS process: makes the calls that it is told to make, a word a line, and says what came of them."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import redis

import riskscale
from riskscale.sync import CircuitBreaker, Hub


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def fail() -> None:
    raise OSError("refused by the dependency")


def hang() -> None:
    say(event="trying")
    threading.Event().wait()


def main() -> None:
    url, prefix, options = sys.argv[1:]
    hub = Hub(redis.Redis.from_url(url), key_prefix=prefix)
    breaker = CircuitBreaker(name="payments", policy=riskscale.BreakerPolicy(**json.loads(options)), redis=hub)
    calls = {"pass": str, "fail": fail, "hang": hang}
    for line in sys.stdin:
        what, _, many = line.strip().partition(" ")
        came = []
        for _ in range(int(many or 1)):
            try:
                breaker.call(calls[what])
                came.append("passed")
            except riskscale.CircuitOpen:
                came.append("refused")
            except OSError:
                came.append("failed")
        say(event="made", came=came, state=breaker.state, node=breaker._replica.node)  # type: ignore[attr-defined]
    hub.close()


if __name__ == "__main__":
    main()
