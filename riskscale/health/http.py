"""A check of another service over HTTP, with a client of httpx, blocking or asyncio."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from riskscale.errors import ArgumentError
from riskscale.health.report import HealthStatus, Observation


def check(client: Any, url: str) -> Callable[[], Any]:
    """A check, for :meth:`riskscale.HealthMonitor.add_check`: GET ``url``, and 2xx or 3xx passes.

    Args:
        client: an ``httpx.AsyncClient``; for ``riskscale.sync`` an ``httpx.Client``. It stays open, it is yours.
        url: relative to the client's ``base_url``, or absolute. Not its own health, if that looks at us: two services
            that ask each other keep each other down.

    Raises:
        ArgumentError: it is no client of httpx.

    Only the status is looked at; what follows it is not read. The check's own ``timeout`` bounds it.
    """
    stream, send = getattr(client, "stream", None), getattr(client, "send", None)
    if not callable(stream) or not callable(send):
        raise ArgumentError("client", f"must be a client of httpx, not {type(client).__name__}")

    async def waited() -> Observation:
        async with stream("GET", url) as response:
            return _seen(response)

    def blocking() -> Observation:
        with stream("GET", url) as response:
            return _seen(response)

    return waited if inspect.iscoroutinefunction(send) else blocking


def _seen(response: Any) -> Observation:
    code = response.status_code
    if 200 <= code < 400:
        return Observation()
    return Observation(status=HealthStatus.FAIL, output=f"HTTP {code}")
