"""Waiting until a request passes, and what is counted of decisions."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

import pytest

import riskscale.sync
from riskscale import ArgumentError, Hub, Limit, RateLimiter
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


class Collector:
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.seen: list[tuple[str, float]] = []

    def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
        self.counts[name, labels["limiter"], labels["outcome"], labels["degraded"]] += round(value)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        self.seen.append((name, value))

    def gauge(self, name: str, value: float, /, **labels: str) -> None: ...


@pytest.mark.embedded
async def test_decisions_are_counted(connect: Any, prefix: str, backend: Any) -> None:
    collector = Collector()
    async with Hub(connect(), key_prefix=prefix, metrics=collector) as hub:
        limiter = RateLimiter(hub, Limit(2, per=60), name="api", on_error="deny")
        await asyncio.gather(*(limiter.hit("a") for _ in range(3)), limiter.hit("b", 5))
        await limiter.peek("a")
        assert collector.counts == {
            ("rate_decisions", "api", "admitted", "no"): 2,
            ("rate_decisions", "api", "refused", "no"): 1,
            ("rate_decisions", "api", "never", "no"): 1,
        }
        assert ("rate_batch_size", 4) in collector.seen
        assert sum(name == "rate_decision_seconds" for name, _ in collector.seen) == 4
        with backend.outage:
            await limiter.hit("a")
        assert collector.counts["rate_decisions", "api", "refused", "yes"] == 1
        await asyncio.sleep(RETRY)
        while (await limiter.hit("c")).degraded:
            await asyncio.sleep(0.01)
        (outage,) = (value for name, value in collector.seen if name == "rate_degraded_seconds")
        assert outage >= RETRY


@pytest.mark.embedded
async def test_a_collector_that_fails_disturbs_nobody(
    connect: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Collector):
        def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
            raise RuntimeError("full")

        observe = increment  # type: ignore[assignment]

    async with Hub(connect(), key_prefix=prefix, metrics=Broken()) as hub:
        limiter = RateLimiter(hub, Limit(2, per=60))
        assert await limiter.hit("a") and await limiter.hit("a")
    assert caplog.text.count("the metrics collector failed") == 1
