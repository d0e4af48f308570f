"""While the server is gone: the last known limits go on, also for what a replica grants by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

import riskscale.sync
from riskscale import Hub, Limit, RateLimiter, RedisLimits
from riskscale.limits.calls import Change
from riskscale.limits.known import FRESH
from riskscale.rate.fallback import RETRY, Fallback
from riskscale.testing import Outage, ServerProcess

TEN = Limit(10, per=60)


@pytest.mark.embedded
async def test_the_last_known_go_on(hub: Hub, backend: Any, operator: Callable[..., Change]) -> None:
    now = 1000.0
    hub.monotonic = lambda: now
    operator("gold", "50/minute")
    limits = RedisLimits(hub, "api", default=TEN)
    local = RateLimiter(hub, limits, on_error="local", replicas=5)
    strict = RateLimiter(hub, limits)
    assert (await local.hit("gold")).limit.count == 50
    with backend.outage:
        for _ in range(3):
            now += 10 * FRESH
            gold, new = await local.hit_many([("gold", 10), "new"])
            assert gold.degraded and gold.limits == (Limit(50, per=60),) and new.limits == (TEN,)
            while limits._task:
                await asyncio.sleep(0)
            with pytest.raises(redis.ConnectionError):
                await strict.hit("gold")
        operators = [decision.allowed for decision in await local.hit_many([("gold", 1), ("new", 1)])]
        assert operators == [False, False], "shares: 10 of 50, and 2 of 10"
        now += RETRY
    operator("gold", "60/minute")
    now += 60 + FRESH
    assert (await local.peek("gold")).limit.count in (50, 60), "nobody waits before it is known to be there again"
    while limits._task:
        await asyncio.sleep(0)
    assert (await local.peek("gold")).limit.count == 60


def test_a_changed_limit_keeps_what_was_granted_here() -> None:
    now = 1000.0
    fallback = Fallback("local", 2, lambda: now)
    gone = ConnectionError()

    def hit(limits: tuple[Limit, ...]) -> Any:
        settled, asked = fallback.begin(limits, [("a", 1)], True)
        return (fallback.failed(gone, limits, settled, asked, True) if asked else settled)[0]

    few, many = (Limit(4, per=60),), (Limit(8, per=60),)
    assert [hit(few).allowed for _ in range(3)] == [True, True, False]
    assert [hit(many).allowed for _ in range(3)] == [True, True, False], "2 of 4 were used already"
    assert hit((*many, Limit(100, per=3600))).allowed is False


@pytest.mark.owns_server
async def test_a_server_that_goes_and_comes_back(scratch_server: ServerProcess, outage: Outage) -> None:
    client = redis.asyncio.Redis.from_url(scratch_server.url, socket_timeout=0.5, retry=None)
    async with client, Hub(client) as hub:
        limits = RedisLimits(hub, "api", default=TEN)
        limiter = RateLimiter(hub, limits, timeout=0.1, on_error="local", replicas=5)
        await limits.set("gold", "40/minute")
        assert (await limiter.hit("gold")).limit.count == 40
        with outage:
            while limits._known.age(("gold",)) < FRESH:  # nothing that was read is fresh any more
                await asyncio.sleep(0.01)
            decisions = await asyncio.gather(*(limiter.hit(key) for key in ["gold", "new"] * 20))
            assert all(decision.degraded for decision in decisions)
            assert [sum(map(bool, decisions[at::2])) for at in (0, 1)] == [8, 2]
        while (await limiter.hit("until")).degraded:
            await asyncio.sleep(0.01)
        await limits.set("gold", "41/minute")
        assert (await limiter.peek("gold")).limit.count == 41


@pytest.mark.owns_server
def test_in_threads(scratch_server: ServerProcess, outage: Outage) -> None:
    with (
        redis.Redis.from_url(scratch_server.url, socket_timeout=0.1, retry=None) as client,
        riskscale.sync.Hub(client) as hub,
    ):
        limits = riskscale.sync.RedisLimits(hub, "api", default=TEN)
        limiter = riskscale.sync.RateLimiter(hub, limits, on_error="local", replicas=5)
        limits.set("gold", "40/minute")
        assert limiter.hit("gold").limit.count == 40
        with outage:
            while limits._known.age(("gold",)) < FRESH:
                time.sleep(0.01)
            assert [limiter.hit(key).limit.count for key in ("gold", "new")] == [40, 10]
            assert limiter.hit("gold").degraded
        while limiter.hit("until").degraded:
            time.sleep(0.01)
        limits.set("gold", "41/minute")
        assert limiter.peek("gold").limit.count == 41
