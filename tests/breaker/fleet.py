"""Several replicas of one breaker in one process, each with a hub of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from riskscale import BreakerPolicy, BreakerState, CircuitBreaker, CircuitOpen, Hub

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SELDOM = 3600.0
"""Seconds between reports that are not urgent: nothing is known by them."""


class Refused(Exception):
    """What the dependency says."""


async def fail() -> None:
    raise Refused


async def answer() -> str:
    return "answer"


async def until(condition: Callable[[], object]) -> None:
    """It holds; the test's time-out is the only limit."""
    while not condition():
        await asyncio.sleep(0.001)


async def failures(breaker: CircuitBreaker, many: int) -> None:
    for _ in range(many):
        with pytest.raises(Refused):
            await breaker.call(fail)


async def attempts(breakers: list[CircuitBreaker], func: Callable[[], Any] = answer) -> list[Any]:
    """One call by each at the same time: what it returned, or CircuitOpen."""
    return await asyncio.gather(*(breaker.call(func) for breaker in breakers), return_exceptions=True)


def admitted(outcomes: list[Any]) -> int:
    assert all(each == "answer" or isinstance(each, (CircuitOpen, Refused)) for each in outcomes), outcomes
    return sum(not isinstance(each, CircuitOpen) for each in outcomes)


@asynccontextmanager
async def fleet(
    client: Any, prefix: str, many: int, policy: BreakerPolicy, name: str = "payments"
) -> AsyncIterator[list[CircuitBreaker]]:
    """Breakers that have made their first call."""
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(Hub(client, key_prefix=prefix)) for _ in range(many)]
        breakers = [CircuitBreaker(name=name, policy=policy, redis=hub) for hub in hubs]
        for breaker in breakers:
            await breaker.call(answer)
        await asyncio.gather(*(until(lambda hub=hub: hub.mailbox.channel) for hub in hubs))  # type: ignore[misc]
        yield breakers
