"""Blocks and functions that begin when the limits let them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import riskscale.sync
from riskscale import ArgumentError, Hub, Limit, RateLimiter, RateLimitExceeded
from riskscale.rate.limit import ALGORITHMS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_function_is_refused_or_waits(hub: Hub, algorithm: Any) -> None:
    limiter, sent = RateLimiter(hub, Limit(2, per=3600, algorithm=algorithm)), list[str]()

    @limiter.limited(lambda to, *_: to, cost=lambda _, text: len(text))
    async def send(to: str, text: str) -> str:
        """Sends."""
        sent.append(to)
        return text

    assert send.__name__ == "send" and send.__doc__ == "Sends."
    assert await send("a", "xy") == "xy"
    with pytest.raises(RateLimitExceeded) as caught:
        await send("a", "x")
    assert caught.value.key == "a" and caught.value.retry_after > 0
    assert await send("b", "x") == "x" and sent == ["a", "b"]

    waiting = RateLimiter(hub, Limit(2, per=0.2, algorithm=algorithm)).limited("a", wait=60)
    for _ in range(4):
        async with waiting as decision:
            assert decision.allowed
    with pytest.raises(RateLimitExceeded, match="inf"):
        async with limiter.limited("a", 3, wait=60):
            pytest.fail("never")


@pytest.mark.parametrize("algorithm", ["gcra", "sliding_log"])
async def test_it_waits_no_longer_than_it_may(hub: Hub, algorithm: Any) -> None:
    limiter = RateLimiter(hub, Limit(1, per=3600, algorithm=algorithm))
    async with limiter.limited("a"):
        pass
    with pytest.raises(RateLimitExceeded):
        async with limiter.limited("a", wait=60):
            pytest.fail("not within a minute")
    assert not await limiter.hit("a"), "and nothing was given away"


async def test_whoever_is_cancelled_while_waiting_takes_nothing(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(1, per=3600, algorithm="gcra"))
    first = await limiter.reserve("a")

    @limiter.limited("a", wait=None)
    async def work() -> None:
        pytest.fail("an hour later")

    tasks = [asyncio.create_task(work()) for _ in range(3)]
    while (await limiter.peek("a")).reset_after < 3 * 3600:
        await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    while hub._tasks:
        await asyncio.sleep(0.001)
    assert (await limiter.reserve("a")).start - first.start == pytest.approx(3600, abs=1e-5)


async def test_bad_arguments(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(1, per=60))
    for argument, options in [
        ("key", {"key": ""}),
        ("cost", {"cost": 0}),
        ("wait", {"wait": -1}),
        ("wait", {"wait": 1e10}),
    ]:
        with pytest.raises(ArgumentError) as caught:
            limiter.limited(**{"key": "a", **options})  # type: ignore[arg-type]
        assert caught.value.argument == argument
    with pytest.raises(ArgumentError, match="function"):
        limiter.limited("a")(lambda: None)  # type: ignore[arg-type, return-value]
    for argument, limited in [("key", limiter.limited(lambda: "a")), ("cost", limiter.limited("a", lambda: 1))]:
        with pytest.raises(ArgumentError, match=argument):
            async with limited:
                pytest.fail("there are no arguments to find it in")
    called = limiter.limited(lambda key: key, lambda _: 0)
    with pytest.raises(ArgumentError, match="cost"):
        await called(_nothing)("a")


async def _nothing(key: str) -> None:
    pytest.fail("it was not admitted")


def test_in_threads(sync_hub: riskscale.sync.Hub) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, Limit(1, per=0.05, algorithm="gcra"))

    @limiter.limited(lambda to: to, wait=60)
    def send(to: str) -> str:
        return to

    assert [send("a") for _ in range(3)] == ["a"] * 3
    with pytest.raises(RateLimitExceeded), limiter.limited("a", 2, wait=1):
        pytest.fail("never")
    with limiter.limited("b") as decision:
        assert decision.key == "b"
    with pytest.raises(ArgumentError, match="function"):
        limiter.limited("a")(_nothing)
