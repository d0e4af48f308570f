"""The strategies of limits, blocking and asyncio, on our storage; both stand the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import limits.aio.strategies
import limits.strategies
import pytest
import redis
import redis.asyncio

from riskscale.integrations.limits import AsyncRiskscaleStorage, RiskscaleStorage


class Caller:
    """Calls a strategy, and as ``storage`` its storage, and gives back what came of it."""

    def __init__(self, target: Any, run: Callable[[Any], Any]) -> None:
        self._target, self._run = target, run

    @property
    def storage(self) -> Caller:
        return Caller(self._target.storage, self._run)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)
        return lambda *args, **options: self._run(method(*args, **options))


@pytest.fixture(params=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest, backend: Any, prefix: str) -> Iterator[Callable[..., Caller]]:
    """``make(strategy, **options)``: on a client of the smallest user; with ``admin=True``, of one who may SCAN."""
    is_async, url = request.param == "asyncio", getattr(backend, "url", None)
    with asyncio.Runner() as runner, ExitStack() as stack:

        def blocking(strategy: str, admin: bool = False, **options: Any) -> Caller:
            client = redis.Redis.from_url(url) if admin and url else backend.sync_client()
            stack.callback(client.close)
            storage = RiskscaleStorage(client=client, key_prefix=prefix, **options)
            return Caller(limits.strategies.STRATEGIES[strategy](storage), lambda answer: answer)

        def asynchronous(strategy: str, admin: bool = False, **options: Any) -> Caller:
            client = redis.asyncio.Redis.from_url(url) if admin and url else backend.asyncio_client()
            stack.callback(lambda: runner.run(client.aclose()))
            storage = AsyncRiskscaleStorage(client=client, key_prefix=prefix, **options)
            return Caller(limits.aio.strategies.STRATEGIES[strategy](storage), runner.run)

        yield asynchronous if is_async else blocking
