"""Retrying libraries and a breaker: a refused call is retried when it may pass, and not before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stamina
import tenacity

import riskscale.sync
from riskscale import CircuitBreaker, CircuitOpen
from riskscale.testing import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(0)


class Dependency:
    """Broken until a time; counts what comes to it."""

    def __init__(self, clock: VirtualClock, until: float) -> None:
        self.clock, self.until, self.asked = clock, until, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.clock() < self.until * 1e6:
            raise OSError("broken")
        return "answer"


def test_tenacity_waits_as_long_as_it_is_told(clock: VirtualClock) -> None:
    breaker = riskscale.sync.CircuitBreaker(2, 30)
    breaker._replica._monotonic = lambda: clock() / 1e6
    dependency = Dependency(clock, until=45)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return error.retry_after if isinstance(error, CircuitOpen) else 0.1

    retry = tenacity.Retrying(wait=wait, stop=tenacity.stop_after_attempt(10), sleep=clock.advance, reraise=True)
    assert retry(breaker.call, dependency) == "answer"
    # two failures open it, one probe at 30 s fails, the next one finds it mended
    assert dependency.asked == 4 and 60 <= clock() / 1e6 < 61


def test_tenacity_need_not_retry_what_is_refused(clock: VirtualClock) -> None:
    breaker = riskscale.sync.CircuitBreaker(2, 30)
    breaker._replica._monotonic = lambda: clock() / 1e6
    dependency = Dependency(clock, until=45)
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_not_exception_type(CircuitOpen),
        wait=tenacity.wait_fixed(1),
        sleep=clock.advance,
    )
    with pytest.raises(CircuitOpen) as caught:
        retry(breaker.call, dependency)
    assert dependency.asked == 2 and caught.value.retry_after == 29


def backoff(error: Exception) -> Any:
    return error.retry_after if isinstance(error, CircuitOpen) else isinstance(error, OSError)


async def test_stamina_waits_as_long_as_it_is_told(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = CircuitBreaker(2, 30)
    breaker._replica._monotonic = lambda: clock() / 1e6
    dependency, sleep = Dependency(clock, until=45), asyncio.sleep

    async def virtual(seconds: float, *_: Any) -> None:
        clock.advance(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", virtual)

    @stamina.retry(on=backoff, attempts=10, timeout=None, wait_initial=0.1, wait_jitter=0)
    async def call() -> Any:
        return await breaker.call(dependency)

    assert await call() == "answer"
    assert dependency.asked == 4 and 60 <= clock() / 1e6 < 62
