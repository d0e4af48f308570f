"""Retrying libraries and a breaker: a refused call is retried when it may pass, and not before.

By the code in docs/breakers.md.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import stamina
import tenacity

import riskscale.sync
from riskscale import CircuitBreaker, CircuitOpen
from riskscale.testing import VirtualClock
from tests.test_readme import ROOT, blocks


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


@pytest.fixture
def virtual(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The names of the guide's code, and a breaker and a dependency in virtual time."""
    sleep = asyncio.sleep

    async def virtual_sleep(seconds: float, *_: Any) -> None:
        clock.advance(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", virtual_sleep)
    breaker = CircuitBreaker(2, 30)
    breaker._replica._monotonic = lambda: clock() / 1e6
    names = {"riskscale": riskscale, "stamina": stamina, "tenacity": tenacity, "breaker": breaker}
    names["pay"] = Dependency(clock, until=45)
    (code,) = blocks("py", (ROOT / "docs" / "breakers.md").read_text())
    exec(code, names)
    return SimpleNamespace(**names)


async def test_tenacity_waits_as_long_as_it_is_told(virtual: SimpleNamespace, clock: VirtualClock) -> None:
    assert await virtual.retrying(virtual.breaker.call, virtual.pay) == "answer"
    # two failures open it, one probe at 30 s fails, the next one finds it mended
    assert virtual.pay.asked == 4 and 60 <= clock() / 1e6 < 61


async def test_stamina_waits_as_long_as_it_is_told(virtual: SimpleNamespace, clock: VirtualClock) -> None:
    assert await virtual.call() == "answer"
    assert virtual.pay.asked == 4 and 60 <= clock() / 1e6 < 75, "it adds a backoff of its own"


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
