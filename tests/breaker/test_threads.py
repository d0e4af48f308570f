"""The blocking breaker: alone in many threads, and shared."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest

from riskscale import ArgumentError, BreakerPolicy, BreakerState, CircuitOpen, StateError
from riskscale.breaker.base import local_replica
from riskscale.sync import CircuitBreaker, Hub
from riskscale.sync.reporter import Reporter

CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN
POLICY = BreakerPolicy(consecutive_failures=3, open_seconds=0.05, refresh_seconds=0.02)
LONG = BreakerPolicy(consecutive_failures=3, open_seconds=60, refresh_seconds=3600)


class Refused(Exception):
    """What the dependency says."""


def fail() -> None:
    raise Refused


def failures(breaker: CircuitBreaker, many: int) -> None:
    for _ in range(many):
        with pytest.raises(Refused):
            breaker.call(fail)


def test_no_lock_is_held_while_a_call_is_made() -> None:
    breaker, meet = CircuitBreaker(3, 30), threading.Barrier(10, timeout=30)
    with ThreadPoolExecutor(10) as pool:
        assert sorted(pool.map(lambda _: breaker.call(meet.wait), range(10))) == list(range(10))


def test_every_outcome_counts_in_many_threads() -> None:
    breaker = CircuitBreaker(policy=BreakerPolicy(failure_rate=1, minimum_calls=10**6))

    def work(number: int) -> None:
        for at in range(200):
            with suppress(Refused):
                breaker.call(fail if (at + number) % 2 else str)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert breaker.inspect().counts == (1600, 800, 0)


def test_one_probe_among_many_threads() -> None:
    breaker = CircuitBreaker(1, 0.01)
    failures(breaker, 1)
    gate, tried = threading.Event(), []

    def probe() -> None:
        tried.append(1)
        gate.wait(30)

    def attempt(_: int) -> bool:
        try:
            breaker.call(probe)
        except CircuitOpen:
            return False
        return True

    while breaker.remaining:
        time.sleep(0.001)
    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(attempt, at) for at in range(20)]
        while sum(each.done() for each in found) < 19:
            time.sleep(0.001)
        gate.set()
    assert len(tried) == 1 and sum(each.result() for each in found) == 1 and breaker.state is CLOSED


def test_a_block_a_decorator_and_events() -> None:
    breaker = CircuitBreaker(1, 60)
    events = breaker.events()

    @breaker
    def divide(a: int, b: int) -> float:
        return a / b

    assert divide(6, 3) == 2
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    with pytest.raises(CircuitOpen), breaker:
        pytest.fail("entered")
    assert next(events).after is OPEN
    breaker.reset("by hand")
    with breaker:
        pass
    breaker.__enter__()
    with ThreadPoolExecutor(1) as pool, pytest.raises(StateError):
        pool.submit(breaker.__exit__, None, None, None).result()
    breaker.__exit__(None, None, None)

    async def later() -> None: ...

    with pytest.raises(ArgumentError):
        breaker(later)


def test_what_cannot_be_tried_counts_as_nothing() -> None:
    breaker = CircuitBreaker(1, 60)

    async def later() -> None: ...

    for func in (None, later, lambda: asyncio.Future(loop=loop)):
        with closing(asyncio.new_event_loop()) as loop, pytest.raises(ArgumentError) as caught:
            breaker.call(func)  # type: ignore[arg-type]
        assert caught.value.argument == "func" and breaker.inspect().counts == (0, 0, 0)


def test_replicas_in_threads(sync_client: Any, prefix: str) -> None:
    before = set(threading.enumerate())
    with Hub(sync_client, key_prefix=prefix) as one_hub, Hub(sync_client, key_prefix=prefix) as two_hub:
        one = CircuitBreaker(name="payments", policy=LONG, redis=one_hub)
        two = CircuitBreaker(name="payments", policy=LONG, redis=two_hub)
        with ThreadPoolExecutor(8) as pool:  # all wait for the first read
            assert list(pool.map(lambda _: two.call(str), range(8))) == [""] * 8
        while not two_hub.mailbox.channel:
            time.sleep(0.001)
        events = two.events()
        failures(one, 3)
        transition = next(events)
        assert transition.after is OPEN and transition.shared and two.state is OPEN
        assert two.inspect().state is OPEN
        one.force_open(60, "by hand")
        assert next(events).reason == "by hand"
        one.reset("again")
        assert next(events).after is CLOSED and two.call(str) == ""
    assert list(events) == []
    assert set(threading.enumerate()) <= before


def test_threads_recover_by_a_probe(sync_client: Any, prefix: str) -> None:
    with Hub(sync_client, key_prefix=prefix) as one_hub, Hub(sync_client, key_prefix=prefix) as two_hub:
        breakers = [CircuitBreaker(name="payments", policy=POLICY, redis=hub) for hub in (one_hub, two_hub)]
        for breaker in breakers:
            breaker.call(str)
        failures(breakers[0], 3)
        while breakers[1].state is CLOSED:
            time.sleep(0.001)
        while not all(breaker.state is CLOSED for breaker in breakers):
            for breaker in breakers:
                try:
                    breaker.call(str)
                except CircuitOpen as error:
                    time.sleep(min(error.retry_after, 0.01))


def test_many_begin_to_listen_while_it_changes() -> None:
    class Listener: ...

    replica, heard, over = local_replica("payments", LONG), [Listener() for _ in range(200)], threading.Event()
    for each in heard:
        replica.listen(each, lambda *_: None)

    def come_and_go() -> None:
        while not over.is_set():
            late = [Listener() for _ in range(50)]
            for each in late:
                replica.listen(each, lambda *_: None)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(come_and_go)
            try:
                for _ in range(1000):
                    replica._spread(None)
            finally:
                over.set()
            coming.result()
    finally:
        sys.setswitchinterval(interval)


def test_what_one_breaker_cannot_do_does_not_stop_the_others(
    sync_client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Hub(sync_client, key_prefix=prefix) as hub:
        bad, good = (CircuitBreaker(name=name, policy=POLICY, redis=hub) for name in ("bad", "good"))
        bad.call(str)
        looked: list[int] = []

        def broken() -> None:
            looked.append(1)
            raise ZeroDivisionError

        bad._replica.look = broken  # type: ignore[attr-defined]
        while len(looked) < 3:
            bad._replica.wake()  # type: ignore[attr-defined]
            time.sleep(0.001)
        good.call(str)
        failures(good, 3)
        while good._replica.has_news:  # type: ignore[attr-defined]
            time.sleep(0.001)
        assert good.inspect().known
    assert caplog.text.count("breaker 'bad' could not report") == 1


def test_a_bare_client(sync_client: Any, prefix: str) -> None:
    before = set(threading.enumerate())
    hubs = [Hub(sync_client, key_prefix=prefix) for _ in range(2)]
    for hub in hubs:
        hub.lasting = False
    one, two = (CircuitBreaker(name="payments", policy=POLICY, redis=hub) for hub in hubs)
    two.call(str)
    failures(one, 3)
    assert set(threading.enumerate()) <= before and two.inspect().state is OPEN
    assert CircuitBreaker(3, 60, "x", redis=sync_client).name == "x"


def test_a_silent_server_costs_the_first_call_alone(sync_client: Any, prefix: str) -> None:
    """Of a client without a time-out: the thread hangs in its report for as long as the connection."""
    now, answers = [0.0], threading.Event()

    def silent(*_: Any) -> None:
        answers.wait(30)
        raise ConnectionError

    with Hub(sync_client, key_prefix=prefix) as hub:
        hub.monotonic = lambda: now[0]
        breaker = CircuitBreaker(name="payments", policy=LONG, redis=hub)
        replica = breaker._replica
        hub.run = silent  # type: ignore[method-assign, assignment]
        hub.part(Reporter).start()
        while not replica.is_reporting:  # type: ignore[attr-defined]
            time.sleep(0.001)
        now[0] += 1.1
        waits: list[object] = []
        condition = hub.part(Reporter)._answered
        condition.wait_for = lambda *words: waits.append(words)  # type: ignore[method-assign, assignment, return-value]
        assert [breaker.call(str) for _ in range(3)] == [""] * 3 and not waits
        failures(breaker, 3)
        with pytest.raises(CircuitOpen):
            breaker.call(str)
        del hub.run
        answers.set()
