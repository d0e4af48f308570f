"""The service on the embedded server and on a real one, where it is a user that may do what a service does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from riskscale.testing import delete_keys
from tests.backends import Backend


@pytest.fixture
async def service_client(backend: Backend, request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[Any]:
    """An asyncio client; what the service keeps for ever (audit, costs, results) is deleted at the end."""
    if backend.name == "embedded":
        client = backend.asyncio_client()
    else:
        client = redis.asyncio.from_url(request.getfixturevalue("server_url"))
    yield client
    await client.aclose()
    delete_keys(backend.admin, prefix)
