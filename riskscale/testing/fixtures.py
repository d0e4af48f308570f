"""The fixtures of :mod:`riskscale.testing`, which registers this module with pytest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import redis
import redis.asyncio

from riskscale.testing.clock import VirtualClock
from riskscale.testing.embedded import fake_async_client, fake_client, new_fake_server
from riskscale.testing.leaks import keys_without_ttl
from riskscale.testing.outage import Outage
from riskscale.testing.server import ServerProcess

try:
    import pytest
    import pytest_asyncio
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error.name} is missing: pip install 'riskscale[test]'", name=error.name) from error


@pytest.fixture
def riskscale_clock() -> VirtualClock:
    """A clock that only the test moves."""
    return VirtualClock()


@pytest.fixture
def riskscale_fake_server() -> Any:
    """A fresh embedded server."""
    return new_fake_server()


@pytest_asyncio.fixture
async def riskscale_client(riskscale_fake_server: Any) -> AsyncIterator[Any]:
    """An asyncio client of this test's embedded server."""
    client = fake_async_client(riskscale_fake_server)
    yield client
    await client.aclose()


@pytest.fixture
def riskscale_sync_client(riskscale_fake_server: Any) -> Iterator[Any]:
    """A blocking client of this test's embedded server."""
    client = fake_client(riskscale_fake_server)
    yield client
    client.close()


@pytest.fixture
def riskscale_outage(riskscale_fake_server: Any) -> Iterator[Outage]:
    """A switch that takes this test's embedded server away."""
    outage = Outage.of_embedded(riskscale_fake_server)
    yield outage
    outage.end()


@pytest.fixture
def riskscale_no_leaks(riskscale_fake_server: Any) -> Iterator[None]:
    """Fails a test that leaves a key without TTL on its embedded server."""
    yield
    riskscale_fake_server.connected = True
    with fake_client(riskscale_fake_server) as client:
        left = keys_without_ttl(client)
    if left:
        pytest.fail(f"keys without TTL: {', '.join(left)}")


@pytest.fixture(scope="session")
def riskscale_server_process() -> Iterator[ServerProcess]:
    """One real server for the test run, started by us on a free loopback port."""
    with ServerProcess() as server:
        yield server


@pytest.fixture
def riskscale_server(riskscale_server_process: ServerProcess) -> Iterator[ServerProcess]:
    """The session's real server, running and empty at the start of each test."""
    riskscale_server_process.resume()
    riskscale_server_process.start()
    with redis.Redis.from_url(riskscale_server_process.url) as admin:
        admin.flushall()
        admin.script_flush()
    yield riskscale_server_process
    riskscale_server_process.resume()


@pytest_asyncio.fixture
async def riskscale_server_client(riskscale_server: ServerProcess) -> AsyncIterator[Any]:
    """An asyncio client of the real server."""
    client = redis.asyncio.Redis.from_url(riskscale_server.url)
    yield client
    await client.aclose()


@pytest.fixture
def riskscale_server_sync_client(riskscale_server: ServerProcess) -> Iterator[Any]:
    """A blocking client of the real server."""
    with redis.Redis.from_url(riskscale_server.url) as client:
        yield client


@pytest.fixture
def riskscale_server_outage(riskscale_server: ServerProcess) -> Iterator[Outage]:
    """A switch that stalls the real server: connections stay open, nothing answers."""
    outage = Outage.stalled(riskscale_server)
    yield outage
    outage.end()
