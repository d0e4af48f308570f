"""When a breaker's hub begins to report, and what is left of it when the hub closes."""

from __future__ import annotations

import time
from typing import Any

from riskscale import BreakerPolicy, CircuitBreaker, CircuitOpen, Hub, sync
from tests.breaker.fleet import CLOSED, SELDOM, answer, until

BY_HAND = BreakerPolicy(consecutive_failures=3, open_seconds=60, refresh_seconds=SELDOM)


async def test_changed_by_hand_before_its_first_call_it_reports(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as hub:
        breaker = CircuitBreaker(name="payments", policy=BY_HAND, redis=hub)
        await breaker.force_open(0.001, "before any call")
        while breaker.remaining:
            time.sleep(0.001)
        assert await breaker.call(answer) == "answer"
        await until(lambda: breaker.state is CLOSED and not breaker._replica.has_news)  # type: ignore[attr-defined]
        assert (await breaker.inspect()).state is CLOSED


def test_changed_by_hand_before_its_first_call_it_reports_from_a_thread(sync_client: Any, prefix: str) -> None:
    with sync.Hub(sync_client, key_prefix=prefix) as hub:
        breaker = sync.CircuitBreaker(name="payments", policy=BY_HAND, redis=hub)
        breaker.force_open(0.001, "before any call")
        while True:
            try:
                breaker.call(str)
                break
            except CircuitOpen as error:
                time.sleep(error.retry_after)
        while breaker.inspect().state is not CLOSED:
            time.sleep(0.001)
