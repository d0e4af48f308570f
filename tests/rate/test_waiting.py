"""Waiting until a request passes, and what is counted of decisions."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

import riskscale.sync
from riskscale import ArgumentError, Hub, InMemoryMetrics, Limit, RateLimiter
from riskscale.rate.fallback import RETRY

QUICK = Limit(2, per=0.2)


async def test_it_passes_as_soon_as_it_may(hub: Hub) -> None:
    limiter = RateLimiter(hub, QUICK)
    decisions = [await limiter.wait("a") for _ in range(5)]
    assert all(decisions)
    stamps = [decision.at for decision in decisions]
    assert all(later - earlier >= 0.2 for earlier, later in zip(stamps, stamps[2:], strict=False))
    several = await asyncio.gather(*(limiter.wait("a", timeout=60) for _ in range(4)))
    assert all(several)


async def test_what_will_not_pass_in_time_is_said_at_once(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(1, per=3600))
    assert await limiter.wait("a", timeout=0)
    refused = await limiter.wait("a", timeout=60)
    assert not refused and refused.retry_after > 3000
    never = await limiter.wait("a", cost=2)
    assert never.retry_after == math.inf
    for timeout in (-1, math.nan, "1"):
        with pytest.raises(ArgumentError, match="timeout"):
            await limiter.wait("b", timeout=timeout)  # type: ignore[arg-type]
    assert (await limiter.peek("b")).remaining == 1, "nothing was charged"


def test_in_threads(sync_hub: riskscale.sync.Hub) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, QUICK)
    stamps = [limiter.wait("a").at for _ in range(3)]
    assert stamps[2] - stamps[0] >= 0.2
    assert not limiter.wait("b", cost=3)


@pytest.mark.embedded
async def test_decisions_are_counted(connect: Any, prefix: str, backend: Any) -> None:
    metrics = InMemoryMetrics()
    async with Hub(connect(), key_prefix=prefix, metrics=metrics) as hub:
        limiter = RateLimiter(hub, Limit(2, per=60), name="api", on_error="deny")
        await asyncio.gather(*(limiter.hit("a") for _ in range(3)), limiter.hit("b", 5))
        await limiter.peek("a")
        for outcome, many in (("admitted", 2), ("refused", 1), ("never", 1)):
            assert metrics.total("rate_decisions", limiter="api", outcome=outcome, degraded="no") == many
        assert metrics.total("rate_decisions") == 4 and len(metrics.observed("rate_decision_seconds")) == 4
        assert 4 in metrics.observed("rate_batch_size")
        with backend.outage:
            await limiter.hit("a")
        assert metrics.total("rate_decisions", outcome="refused", degraded="yes") == 1
        await asyncio.sleep(RETRY)
        while (await limiter.hit("c")).degraded:
            await asyncio.sleep(0.01)
        (outage,) = metrics.observed("rate_degraded_seconds")
        assert outage >= RETRY
