"""When a breaker's hub begins to report, and what is left of it when the hub closes."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from riskscale import BreakerPolicy, CircuitBreaker, CircuitOpen, Hub, StateError, sync
from riskscale.testing.embedded import fake_async_client, new_fake_server
from tests.breaker.fleet import CLOSED, OPEN, SELDOM, answer, failures, until

BY_HAND = BreakerPolicy(consecutive_failures=3, open_seconds=60, refresh_seconds=SELDOM)


async def test_changed_by_hand_before_its_first_call_it_reports(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as hub:
        breaker = CircuitBreaker(name="payments", policy=BY_HAND, redis=hub)
        await breaker.force_open(0.001, "before any call")
        await until(lambda: not breaker.remaining)
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


PROBES = BreakerPolicy(failure_rate=0.5, permits=5, open_seconds=60, probe_seconds=3600, refresh_seconds=SELDOM)


async def test_closing_the_hub_tells_of_all_probes_that_have_ended(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as other_hub:
        other = CircuitBreaker(name="payments", policy=PROBES, redis=other_hub)
        async with Hub(client, key_prefix=prefix) as hub:
            breaker = CircuitBreaker(name="payments", policy=PROBES, redis=hub)
            await breaker.force_open(0.001, "to try")
            gate, tried = asyncio.Event(), []

            async def probe() -> None:
                tried.append(1)
                await gate.wait()

            async def once_more(at: int) -> None:
                while len(tried) == at:
                    try:
                        await breaker.call(probe)
                    except CircuitOpen as error:
                        await asyncio.sleep(min(error.retry_after, 0.001))

            tasks = []
            for at in range(4):
                tasks.append(asyncio.create_task(once_more(at)))
                await until(lambda at=at: len(tried) == at + 1)  # type: ignore[misc]
            breaker._replica.wake = lambda: None  # type: ignore[attr-defined]  # as if the hub were closed at once
            gate.set()
            await asyncio.gather(*tasks)
        info = await other.inspect()
        assert (info.counts.calls, info.probes) == (4, 0)


def test_closing_the_hub_tells_of_all_probes_from_a_thread(sync_client: Any, prefix: str) -> None:
    with sync.Hub(sync_client, key_prefix=prefix) as other_hub:
        other = sync.CircuitBreaker(name="payments", policy=PROBES, redis=other_hub)
        with sync.Hub(sync_client, key_prefix=prefix) as hub, ThreadPoolExecutor(4) as pool:
            breaker = sync.CircuitBreaker(name="payments", policy=PROBES, redis=hub)
            breaker.force_open(0.001, "to try")
            gate, tried = threading.Event(), []

            def probe() -> None:
                tried.append(1)
                gate.wait(30)

            def once_more(at: int) -> None:
                while len(tried) == at:
                    try:
                        breaker.call(probe)
                    except CircuitOpen as error:
                        time.sleep(min(error.retry_after, 0.001))

            for at in range(4):
                pool.submit(once_more, at)
                while len(tried) == at:
                    time.sleep(0.001)
            breaker._replica.wake = lambda: None  # type: ignore[attr-defined]  # as if the hub were closed at once
            gate.set()
            pool.shutdown()
        info = other.inspect()
        assert (info.counts.calls, info.probes) == (4, 0)


async def test_of_a_closed_hub_nothing_is_begun_and_events_end(client: Any, prefix: str) -> None:
    hub = Hub(client, key_prefix=prefix)
    used, unused = (CircuitBreaker(3, 60, name, redis=hub) for name in ("used", "unused"))
    await used.call(answer)
    await hub.aclose()
    before = asyncio.all_tasks()
    late = CircuitBreaker(3, 60, "late", redis=hub)
    for breaker in (used, unused, late):
        assert [event async for event in breaker.events()] == []
        assert await breaker.call(answer) == "answer"
    assert asyncio.all_tasks() <= before and not hub.mailbox.channel


def test_of_a_closed_hub_no_thread_is_begun_and_events_end(sync_client: Any, prefix: str) -> None:
    before = set(threading.enumerate())
    hub = sync.Hub(sync_client, key_prefix=prefix)
    used, unused = (sync.CircuitBreaker(3, 60, name, redis=hub) for name in ("used", "unused"))
    used.call(str)
    hub.close()
    late = sync.CircuitBreaker(3, 60, "late", redis=hub)
    for breaker in (used, unused, late):
        assert list(breaker.events()) == [] and breaker.call(str) == ""
    assert set(threading.enumerate()) <= before


def test_in_a_second_event_loop_it_is_alone_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(fake_async_client(new_fake_server()))
    breaker = CircuitBreaker(3, 60, "payments", redis=hub)
    asyncio.run(breaker.call(answer))

    async def second() -> None:
        await failures(breaker, 3)
        assert breaker.state is OPEN
        assert await CircuitBreaker(3, 60, "late", redis=hub).call(answer) == "answer"
        with pytest.raises(StateError):
            breaker.events()
        with pytest.raises(StateError):
            await breaker.reset("by hand")

    asyncio.run(second())
    for name in ("payments", "late"):
        assert caplog.text.count(f"breaker '{name}' decides by itself: its hub is of another process") == 1


def test_after_a_fork_it_is_alone_and_says_so(
    sync_client: Any, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sync.Hub(sync_client, key_prefix=prefix) as hub:
        used = sync.CircuitBreaker(1, 60, "used", redis=hub)
        used.call(str)
        with monkeypatch.context() as forked:
            forked.setattr(hub, "_forks", hub._forks - 1)  # a fork of this process would take the test runner along
            with pytest.raises(ZeroDivisionError):
                used.call(lambda: 1 / 0)
            assert used.state is OPEN and sync.CircuitBreaker(1, 60, "late", redis=hub).call(str) == ""
            with pytest.raises(StateError):
                used.events()
            with pytest.raises(StateError):
                used.reset("by hand")
    for name in ("used", "late"):
        assert caplog.text.count(f"breaker '{name}' decides by itself: its hub is of another process") == 1
