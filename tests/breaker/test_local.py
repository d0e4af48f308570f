"""A breaker of one replica, in virtual time: what counts, when it opens, who may try, and how it closes."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from riskscale import ArgumentError, BreakerPolicy, BreakerState, CircuitBreaker, CircuitOpen, StateError
from riskscale.testing import VirtualClock

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Refused(Exception):
    """What the dependency says."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(0)


@pytest.fixture
def breaker_of(clock: VirtualClock) -> Callable[..., CircuitBreaker]:
    def make(*args: Any, **options: Any) -> CircuitBreaker:
        breaker = CircuitBreaker(*args, **options)
        breaker._replica._monotonic = lambda: clock() / 1e6
        return breaker

    return make


async def fail(error: BaseException | None = None) -> None:
    raise Refused if error is None else error


async def answer(value: Any = "answer") -> Any:
    return value


async def failures(breaker: CircuitBreaker, many: int) -> None:
    for _ in range(many):
        with pytest.raises(Refused):
            await breaker.call(fail)


async def refused(breaker: CircuitBreaker) -> float:
    """Seconds to wait, of a call that was refused without having been made."""
    with pytest.raises(CircuitOpen) as caught:
        await breaker.call(pytest.fail, "it was called")
    return caught.value.retry_after


async def test_as_established(breaker_of: Any, clock: VirtualClock) -> None:
    metrics: list[tuple[str, str]] = []
    breaker = breaker_of(3, 30, "payments", lambda *words: metrics.append(words))
    assert await breaker.call(answer) == "answer" and await breaker.call(lambda a, *, b: a + b, 1, b=2) == 3
    await failures(breaker, 2)
    await breaker.call(answer)  # in a row
    await failures(breaker, 3)
    assert breaker.state == "open" and breaker.state is OPEN and breaker.remaining == 30
    clock.advance(10)
    assert await refused(breaker) == 20
    clock.advance(20)
    await failures(breaker, 1)  # one probe
    assert await refused(breaker) == 30
    clock.advance(30)
    assert await breaker.call(answer) == "answer" and breaker.state is CLOSED
    await failures(breaker, 2)
    assert breaker.state is CLOSED
    assert {name for _, name in metrics} == {"payments"}
    by_metric = [metric.removeprefix("circuit_breaker_") for metric, _ in metrics]
    assert [by_metric.count(each) for each in ("success", "failure", "rejected", "state_change")] == [4, 8, 2, 5]


async def test_what_a_collector_raises_is_logged_once(breaker_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    breaker = breaker_of(1, 30, "payments", lambda *_: 1 / 0)
    await failures(breaker, 1)
    await refused(breaker)
    assert caplog.text.count("metrics_callback of breaker 'payments' failed") == 1
    assert "breaker 'payments': closed -> open ('consecutive_failures', by local)" in caplog.text


async def test_one_probe_while_a_hundred_call(breaker_of: Any, clock: VirtualClock) -> None:
    breaker = breaker_of(1, 30)
    await failures(breaker, 1)
    clock.advance(30)
    gate, tried = asyncio.Event(), []

    async def slow() -> None:
        tried.append(1)
        await gate.wait()

    tasks = [asyncio.create_task(breaker.call(slow)) for _ in range(100)]
    while not tried:
        await asyncio.sleep(0)
    assert breaker.state is HALF_OPEN and await refused(breaker) == 1
    gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert len(tried) == 1 and sum(isinstance(each, CircuitOpen) for each in outcomes) == 99
    assert breaker.state is CLOSED


async def test_a_cancelled_call_counts_as_nothing_and_gives_its_permit_back(
    breaker_of: Any, clock: VirtualClock
) -> None:
    breaker = breaker_of(1, 30)

    async def cancelled() -> None:
        task = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await cancelled()
    assert breaker.state is CLOSED
    await failures(breaker, 1)
    clock.advance(30)
    await cancelled()
    assert breaker.state is HALF_OPEN, "neither a success nor a failure"
    assert await breaker.call(answer) and breaker.state is CLOSED


async def test_a_probe_that_never_comes_back_loses_its_permit(breaker_of: Any, clock: VirtualClock) -> None:
    breaker = breaker_of(policy=BreakerPolicy(consecutive_failures=1, open_seconds=10, probe_seconds=5))
    await failures(breaker, 1)
    clock.advance(10)
    gate = asyncio.Event()
    hung = asyncio.create_task(breaker.call(gate.wait))
    await asyncio.sleep(0)
    assert await refused(breaker) == 1, "the probe may end soon"
    clock.advance(5)
    await failures(breaker, 1)
    assert breaker.state is OPEN
    gate.set()
    assert await hung
    assert breaker.state is OPEN, "its success is of a permit that another had got, and of an older generation"


async def test_what_began_before_a_change_counts_no_more(breaker_of: Any, clock: VirtualClock) -> None:
    breaker = breaker_of(2, 30)
    gate = asyncio.Event()

    async def late() -> None:
        await gate.wait()
        raise Refused

    old = [asyncio.create_task(breaker.call(late)) for _ in range(3)]
    await asyncio.sleep(0)
    await failures(breaker, 2)
    clock.advance(30)
    await breaker.call(answer)
    gate.set()
    await asyncio.gather(*old, return_exceptions=True)
    assert breaker.state is CLOSED


async def test_which_exceptions_and_results_count(breaker_of: Any) -> None:
    policy = BreakerPolicy(
        failure_rate=0.5,
        minimum_calls=2,
        failures=(OSError, ValueError),
        ignored=(FileNotFoundError,),
        failure_result=lambda result: result == 503,
    )
    seen: list[str] = []
    breaker = breaker_of(name="x", policy=policy, metrics_callback=lambda metric, _: seen.append(metric[16:]))
    for error in (FileNotFoundError(), KeyboardInterrupt(), KeyError("answered"), OSError()):
        with pytest.raises(type(error)):
            await breaker.call(fail, error)
    assert seen == ["success", "failure", "state_change"] or seen == ["success", "state_change", "failure"]
    breaker = breaker_of(name="x", policy=policy)
    assert await breaker.call(answer, 503) == 503 and await breaker.call(answer, 200) == 200
    assert breaker.state is OPEN


async def test_a_rate_needs_a_minimum(breaker_of: Any, clock: VirtualClock) -> None:
    breaker = breaker_of(policy=BreakerPolicy(failure_rate=0.5, minimum_calls=10, window_seconds=10))
    await failures(breaker, 9)
    assert breaker.state is CLOSED
    await breaker.call(answer)
    assert breaker.state is OPEN, "nine of ten, though the last one went well"
    breaker = breaker_of(policy=BreakerPolicy(failure_rate=0.5, minimum_calls=10, window_seconds=10))
    await failures(breaker, 9)
    clock.advance(10)
    await failures(breaker, 9)
    assert breaker.state is CLOSED, "those of before are out of the window"


async def test_a_window_by_count(breaker_of: Any) -> None:
    breaker = breaker_of(policy=BreakerPolicy(failure_rate=0.6, minimum_calls=5, window_calls=5))
    await failures(breaker, 2)
    for _ in range(5):
        await breaker.call(answer)
    await failures(breaker, 2)
    assert breaker.state is CLOSED
    await failures(breaker, 1)
    assert breaker.state is OPEN


async def test_slow_calls(breaker_of: Any, clock: VirtualClock) -> None:
    policy = BreakerPolicy(slow_call_rate=0.5, slow_call_seconds=1, minimum_calls=4, open_seconds=10, permits=2)
    breaker = breaker_of(policy=policy)

    async def takes(seconds: float) -> None:
        clock.advance(seconds)

    for length in (0.9, 1, 0.9, 1):
        await breaker.call(takes, length)
    assert breaker.state is OPEN
    clock.advance(10)
    await breaker.call(takes, 0.9)
    assert breaker.state is HALF_OPEN
    await breaker.call(takes, 2)
    assert breaker.state is OPEN, "one of two permits was slow"
    clock.advance(10)
    for _ in range(2):
        await breaker.call(takes, 0.1)
    assert breaker.state is CLOSED


async def test_permits_and_half_open_that_does_not_last(breaker_of: Any, clock: VirtualClock) -> None:
    policy = BreakerPolicy(
        failure_rate=0.5, minimum_calls=1, open_seconds=10, permits=5, half_open_seconds=20, probe_seconds=100
    )
    breaker = breaker_of(policy=policy)
    await failures(breaker, 1)
    clock.advance(10)
    await failures(breaker, 2)
    assert breaker.state is HALF_OPEN
    for _ in range(3):
        await breaker.call(answer)
    assert breaker.state is CLOSED, "two of five failed"
    await failures(breaker, 1)
    clock.advance(10)
    await failures(breaker, 3)
    assert breaker.state is OPEN, "three of five cannot be too few any more"
    clock.advance(10)
    hung = [asyncio.create_task(breaker.call(asyncio.Event().wait)) for _ in range(5)]
    await asyncio.sleep(0)
    assert await refused(breaker) == 1
    clock.advance(20)
    assert await refused(breaker) == 10, "it opened again"
    for task in hung:
        task.cancel()
    await asyncio.gather(*hung, return_exceptions=True)
    assert breaker.state is OPEN


async def test_it_stays_open_longer_each_time(breaker_of: Any, clock: VirtualClock) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_seconds=10, open_growth=2, max_open_seconds=35)
    breaker = breaker_of(policy=policy)
    for length in (10, 20, 35, 35):
        await failures(breaker, 1)
        assert breaker.remaining == length
        clock.advance(length)
    await breaker.call(answer)
    await failures(breaker, 1)
    assert breaker.remaining == 10, "it had been closed"


async def test_jitter(breaker_of: Any, clock: VirtualClock) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_seconds=10, jitter=0.5)
    lengths = set()
    for _ in range(30):
        breaker = breaker_of(policy=policy)
        await failures(breaker, 1)
        lengths.add(breaker.remaining)
    assert len(lengths) > 5 and min(lengths) >= 10 and max(lengths) <= 15


async def test_by_hand(breaker_of: Any, clock: VirtualClock) -> None:
    breaker = breaker_of(1, 30)
    await breaker.force_open(600, "they are moving house")
    assert await refused(breaker) == 600
    clock.advance(600)
    await failures(breaker, 1)
    assert await refused(breaker) == 30
    await breaker.disable(60, "we know")
    await failures(breaker, 5)
    clock.advance(60)
    await breaker.call(answer)
    assert breaker.state is CLOSED
    await breaker.metrics_only(60, "just looking")
    await failures(breaker, 5)
    assert breaker.state is BreakerState.METRICS_ONLY
    await breaker.reset("enough")
    assert breaker.state is CLOSED
    for arguments in ((0, "why"), (60, ""), (60, "x" * 513), (10**9, "why"), (60, 5)):
        with pytest.raises(ArgumentError):
            await breaker.force_open(*arguments)
    with pytest.raises(ArgumentError):
        await breaker.reset("")


async def test_a_block_and_a_decorator(breaker_of: Any) -> None:
    breaker = breaker_of(2, 30)
    with pytest.raises(Refused):
        async with breaker, breaker:  # nested: it counts twice
            raise Refused
    with pytest.raises(CircuitOpen):
        async with breaker:
            pytest.fail("entered")

    breaker = breaker_of(1, 30)

    @breaker
    async def work(a: int, b: int = 2) -> int:
        """Of divisions."""
        return a // b

    @breaker
    def plain() -> str:
        return "plain"

    assert await work(7) == 3 and await plain() == "plain" and work.__doc__ == "Of divisions."
    with pytest.raises(ZeroDivisionError):
        await work(1, b=0)
    with pytest.raises(CircuitOpen):
        await plain()

    async def numbers() -> Any:
        yield 1

    for wrong in (numbers, 5):
        with pytest.raises(ArgumentError):
            breaker(wrong)


async def test_a_block_is_left_where_it_was_entered(breaker_of: Any) -> None:
    breaker = breaker_of(2, 30)
    await asyncio.create_task(breaker.__aenter__())
    with pytest.raises(StateError):
        await breaker.__aexit__(None, None, None)


async def test_events(breaker_of: Any, clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    breaker = breaker_of(2, 30, "payments")
    events, late = breaker.events(), asyncio.create_task(breaker.events().__anext__())
    await asyncio.sleep(0)
    await failures(breaker, 2)
    clock.advance(30)
    await breaker.call(answer)
    await breaker.force_open(60, "by hand")
    seen = [await events.__anext__() for _ in range(4)]
    assert [(each.before, each.after, each.reason, each.forced) for each in seen] == [
        ("closed", "open", "consecutive_failures", False),
        ("open", "half_open", "recovery_timeout", False),
        ("half_open", "closed", "probes_succeeded", False),
        ("closed", "open", "by hand", True),
    ]
    assert seen[0].counts == (2, 2, 0) and seen[0].lasts == 30 and seen[0].breaker == "payments"
    assert [each.generation for each in seen] == sorted({each.generation for each in seen})
    assert await late == seen[0] and not any(each.shared for each in seen)
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 2


def test_the_error_pickles() -> None:
    error = CircuitOpen("payments", 2.5)
    again = pickle.loads(pickle.dumps(error))
    assert (again.name, again.retry_after, str(again)) == ("payments", 2.5, str(error))


async def test_what_cannot_be_called_counts_as_nothing() -> None:
    breaker = CircuitBreaker(1, 60)
    called = asyncio.sleep(0)
    with pytest.raises(ArgumentError) as caught:
        await breaker.call(called)  # type: ignore[arg-type]
    called.close()
    assert caught.value.argument == "func" and breaker.state is CLOSED and (await breaker.inspect()).counts.calls == 0


async def test_a_reason_does_not_break_the_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    await CircuitBreaker(1, 60).force_open(60, "by hand\nCRITICAL: forged")
    assert "by hand\\nCRITICAL" in caplog.text and "\nCRITICAL" not in caplog.text
