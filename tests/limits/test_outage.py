"""While the server is gone: the last known limits go on, also for what a replica grants by itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis.asyncio

import riskscale.sync
from riskscale import Hub, Limit, RateLimiter, RedisLimits
from riskscale.limits.calls import Change
from riskscale.limits.known import EARLY, FRESH, Known
from riskscale.rate.calls import Plan
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

    def hit(limits: tuple[Limit, ...]) -> Any:
        attempt = fallback.begin(Plan("rs1", limits, "api", None), [("a", 1)], True)
        return (fallback.failed(ConnectionError(), attempt) if attempt.asked else attempt.settled)[0]

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
        while (await limiter.hit(f"until-{time.monotonic()}")).degraded:  # of keys that have used nothing
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
        while limiter.hit(f"until-{time.monotonic()}").degraded:
            time.sleep(0.01)
        limits.set("gold", "41/minute")
        assert limiter.peek("gold").limit.count == 41


@pytest.mark.embedded
async def test_nobody_waits_and_one_goes_to_see(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked, gate = 1000.0, 0, asyncio.Event()
    hub.monotonic = lambda: now

    async def evalsha(*words: Any) -> Any:
        nonlocal asked
        asked += 1
        await gate.wait()
        raise redis.ConnectionError

    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    limits = RedisLimits(hub, "api", default=TEN)

    async def answered() -> None:
        while limits._task:
            await asyncio.sleep(0)

    first = asyncio.ensure_future(limits.refresh(["a"]))  # type: ignore[arg-type]
    while not asked:
        await asyncio.sleep(0)
    now += Known.patience + 0.001
    assert limits.refresh(["a", "b"]) is None, "an answer that takes long is not waited for"
    gate.set()
    await first
    for _ in range(3):
        await answered()
        before = asked
        assert limits.refresh(["a"]) is None and limits._task is None, "it was gone a moment ago"
        now += RETRY
        assert limits.refresh(["a"]) is None, "one goes to see, in the background"
        await answered()
        assert asked == before + 1


@pytest.mark.embedded
def test_in_threads_one_reads_while_the_others_go_on(
    sync_hub: riskscale.sync.Hub, operator: Callable[..., Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked, gate, real = 1000.0, [], threading.Event(), sync_hub.client.evalsha
    sync_hub.monotonic = lambda: now
    sync_hub.preload()

    def evalsha(*words: Any) -> Any:
        asked.append(words)
        second = len(asked) == 2
        assert gate.wait(60)
        if second:
            raise redis.ConnectionError
        return real(*words)

    gate.set()
    monkeypatch.setattr(sync_hub.client, "evalsha", evalsha)
    monkeypatch.setattr(Known, "patience", 600.0)  # who waits here, waits too long
    limits = riskscale.sync.RedisLimits(sync_hub, "api", default=TEN)
    limits.refresh(["a"])
    operator("a", "40/minute")
    with ThreadPoolExecutor(8) as threads:

        def read_while_the_others_go_on() -> None:
            gate.clear()
            before = len(asked)
            reader = threads.submit(limits.refresh, ["a"])
            while len(asked) == before:
                time.sleep(0.001)
            try:
                for done in [threads.submit(limits.refresh, ["a"]) for _ in range(20)]:
                    assert done.result(30) is None
            finally:
                gate.set()
            reader.result(30)
            assert len(asked) == before + 1

        now += EARLY
        read_while_the_others_go_on()
        assert limits.known(["a"]) == [(TEN,)], "it failed"
        limits.refresh(["a"])
        assert len(asked) == 2, "a moment ago"
        now += FRESH
        read_while_the_others_go_on()
        assert limits.known(["a"])[0][0].count == 40
        asked.clear()
        gate.clear()
        now += FRESH
        waiting = [threads.submit(limits.refresh, ["a"]) for _ in range(20)]
        while not asked:
            time.sleep(0.001)
        gate.set()
        for done in waiting:
            done.result(30)
        assert len(asked) == 1, "all waited for the one that read"
