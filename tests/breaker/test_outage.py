"""A breaker whose server stalls, is killed, comes back empty or is flushed: no call ever hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from riskscale import BreakerPolicy, CircuitBreaker, Hub
from riskscale.testing import Outage, ServerProcess
from tests.breaker.fleet import CLOSED, OPEN, admitted, answer, attempts, failures, fleet, until

pytestmark = pytest.mark.owns_server
POLICY = BreakerPolicy(consecutive_failures=3, open_seconds=0.2, refresh_seconds=0.05)
LONG = BreakerPolicy(consecutive_failures=3, open_seconds=60, refresh_seconds=0.05)


@pytest.fixture
async def server(scratch_server: ServerProcess) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(scratch_server.url)
    yield client
    await client.aclose()


def is_gone(breaker: CircuitBreaker) -> bool:
    return breaker._replica.is_gone  # type: ignore[attr-defined, no-any-return]


async def test_the_same_policy_alone_and_back_again(server: Any, outage: Outage) -> None:
    async with fleet(server, "", 2, POLICY) as (one, two):
        with outage:
            assert await one.call(answer) == "answer"
            await failures(one, 3)
            assert admitted(await attempts([one])) == 0
            await until(lambda: is_gone(one))
            while admitted(await attempts([one])) == 0:  # its own probe
                await asyncio.sleep(0.01)
            assert one.state is CLOSED and await two.call(answer) == "answer"
            await failures(one, 3)
            assert one.state is OPEN
        await until(lambda: not is_gone(one) and not is_gone(two))
        while one.state is not CLOSED:
            await attempts([one, two])
            await asyncio.sleep(0.005)
        while two.state is not CLOSED:
            await attempts([two])
            await asyncio.sleep(0.005)
        await failures(one, 3)
        await until(lambda: two.state is OPEN)


async def test_an_outage_while_it_is_open(server: Any, outage: Outage) -> None:
    async with fleet(server, "", 2, LONG) as breakers:
        await failures(breakers[0], 3)
        await until(lambda: breakers[1].state is OPEN)
        with outage:
            await until(lambda: all(map(is_gone, breakers)))
            assert admitted(await attempts(breakers)) == 0
        await until(lambda: not any(map(is_gone, breakers)))
        assert admitted(await attempts(breakers)) == 0
        info = await breakers[0].inspect()
        assert info.state is OPEN, "those who know it brought it back"
        async with Hub(server) as hub:
            new = CircuitBreaker(name="payments", policy=LONG, redis=hub)
            assert admitted(await asyncio.gather(*(new.call(answer) for _ in range(100)), return_exceptions=True)) == 0


async def test_flushall_while_it_is_open(server: Any, scratch_server: ServerProcess) -> None:
    async with fleet(server, "", 2, LONG) as breakers:
        await failures(breakers[0], 3)
        await until(lambda: breakers[1].state is OPEN)
        await server.flushall()
        await server.script_flush()
        while not (info := await breakers[0].inspect()).known or info.state is not OPEN:
            await asyncio.sleep(0.005)
        assert admitted(await attempts(breakers)) == 0


async def test_a_server_that_is_gone_from_the_start(scratch_server: ServerProcess, outage: Outage) -> None:
    client = redis.asyncio.Redis.from_url(scratch_server.url)
    async with Hub(client) as hub:
        breaker = CircuitBreaker(name="payments", policy=LONG, redis=hub)
        with outage:
            assert admitted(await asyncio.gather(*(breaker.call(answer) for _ in range(50)))) == 50
            await failures(breaker, 3)
            assert admitted(await attempts([breaker])) == 0
        await until(lambda: not is_gone(breaker))
        assert (await breaker.inspect()).state in (CLOSED, OPEN)
    await client.aclose()


async def test_a_server_whose_memory_is_full(server: Any) -> None:
    """What a breaker has to write is little, and an outage is when it is needed."""
    async with fleet(server, "", 2, LONG) as (one, two):
        await server.config_set("maxmemory-policy", "noeviction")
        await server.config_set("maxmemory", 1)
        await failures(one, 3)
        await until(lambda: two.state is OPEN)
        async with Hub(server) as hub:
            new = CircuitBreaker(name="new", policy=LONG, redis=hub)
            await new.call(answer)
            assert (await new.inspect()).known and not is_gone(new) and not is_gone(one)
