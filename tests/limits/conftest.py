from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis.asyncio

from riskscale.limits.calls import Change, LimitsCalls
from riskscale.sync import Hub


@pytest.fixture
def immortal_keys() -> tuple[str, ...]:
    """What an operator wrote: the header of limits.set says why."""
    return ("rs1*:limits",)


@pytest.fixture
def operator(raw_client: Any, prefix: str) -> Iterator[Callable[..., Change]]:
    """``operator(key, "500/minute")``: what ``riskscale limits set`` does; "" unsets."""
    with Hub(raw_client, key_prefix=prefix) as hub:
        calls = LimitsCalls(hub.root, "api")
        yield lambda key, limits: hub.run(calls.set(key, limits) if limits else calls.unset(key))


@pytest.fixture
async def operator_client(backend: Any) -> AsyncIterator[Any]:
    """An asyncio client that may do everything."""
    admin = redis.asyncio.Redis.from_url(backend.url) if backend.name == "server" else backend.asyncio_client()
    yield admin
    await admin.aclose()
