"""One set of tests for both monitors: checks that wait and hang as each kind of check does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import riskscale
import riskscale.sync
from riskscale import HealthReport
from riskscale.health.base import BaseHealthMonitor as Base


class Slow:
    """A check that ends when it is told to, and not before, whatever is done to it."""

    def __init__(self, is_async: bool) -> None:
        self.calls = 0
        self.began = threading.Event()
        self.result: Any = None
        self._end = threading.Event()
        self._is_async = is_async

    def __call__(self) -> Any:
        self.calls += 1
        self.began.set()
        return self._waited() if self._is_async else self._blocked()

    def end(self) -> None:
        self._end.set()

    def _blocked(self) -> Any:
        self._end.wait(60)
        return self.result

    async def _waited(self) -> Any:
        while not self._end.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                continue
        return self.result


class Asked:
    """A monitor of either kind, asked from asyncio."""

    def __init__(self, kind: str) -> None:
        self.is_async = kind == "asyncio"
        self._slow: list[Slow] = []

    def monitor(self, **options: Any) -> Any:
        return (riskscale if self.is_async else riskscale.sync).HealthMonitor(**options)

    async def health(self, monitor: Any, group: str | None = None) -> HealthReport:
        if self.is_async:
            return await monitor.system_health(group)
        return await asyncio.to_thread(monitor.system_health, group)

    def slow(self) -> Slow:
        self._slow.append(Slow(self.is_async))
        return self._slow[-1]

    def end(self) -> None:
        for slow in self._slow:
            slow.end()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a second may pass before a check has run: what is to pass here has all the time it wants."""
    for method in (Base.add_check, Base.add_redis, Base.add_bulkhead, Base._add):
        monkeypatch.setitem(method.__kwdefaults__, "timeout", 60.0)


@pytest.fixture(params=["asyncio", "threads"])
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    asked = Asked(request.param)
    yield asked
    asked.end()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
