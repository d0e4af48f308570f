"""A replica that could run the controller: ``python -m tests.fleet._replica URL PREFIX asyncio|threads INTERVAL TTL``.

Each order that it applies goes to a stream, whose ids the server stamps.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import redis
import redis.asyncio

import riskscale.sync
from riskscale import AutoScalingPolicy, MetricsSnapshot, ScalingOrder

POLICY = AutoScalingPolicy(max_replicas=10**6)


def stream(prefix: str) -> str:
    return f"{prefix}orders-applied"


def told(order: ScalingOrder) -> dict[str, Any]:
    return {"order": json.dumps({"at": order.at, "fence": order.fence, "pid": os.getpid()})}


class Busy:
    """A fleet that always wants more."""

    group = "orders"

    def snapshot(self) -> MetricsSnapshot:
        return MetricsSnapshot(99, 1000, 1.0, 1000, 3)


async def main(url: str, prefix: str, interval: float, ttl: float) -> None:
    async with redis.asyncio.Redis.from_url(url) as client, riskscale.Hub(client, key_prefix=prefix) as hub:

        async def apply(order: ScalingOrder) -> None:
            await client.xadd(stream(prefix), told(order))

        await riskscale.ScalingController(hub, POLICY, Busy(), apply, interval=interval, ttl=ttl).run()


def main_in_a_thread(url: str, prefix: str, interval: float, ttl: float) -> None:
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client, key_prefix=prefix) as hub:

        def apply(order: ScalingOrder) -> None:
            client.xadd(stream(prefix), told(order))

        riskscale.sync.ScalingController(hub, POLICY, Busy(), apply, interval=interval, ttl=ttl).run()


if __name__ == "__main__":
    url, prefix, kind, interval, ttl = sys.argv[1:]
    what = url, prefix, float(interval), float(ttl)
    if kind == "asyncio":
        asyncio.run(main(*what))
    else:
        main_in_a_thread(*what)
