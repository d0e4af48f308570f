"""Calls of one script again and again, through the Python core: as ``bench.mjs`` beside the runner in Node."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial

import redis

import riskscale.sync
from riskscale._core.call import Call, line


def decide(hub: riskscale.sync.Hub, call: Call[list[int]]) -> bool:
    """Whether the first request was admitted."""
    return hub.run(call)[1] == 0


def main() -> None:
    steps, url = json.loads(sys.argv[2]), sys.argv[3]
    first, now = steps[0], int(steps[0]["args"][-1])
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client, clock=lambda: now) as hub:
        bare, words = client.script_load("return 1"), (len(first["keys"]), *first["keys"], *first["args"])
        works: dict[str, Callable[[], bool]] = {"bare": lambda: client.evalsha(bare, *words) == 1}
        for at, step in enumerate(steps):
            call = Call(step["script"], tuple(map(str.encode, step["keys"])), tuple(step["args"][:-1]), line)
            works[str(at)] = partial(decide, hub, call)
        for order in sys.stdin:
            what, count = order.split()
            work = works[what]
            for _ in range(int(count)):
                if not work():
                    raise SystemExit("refused")
            print("done", flush=True)


if __name__ == "__main__":
    main()
