"""For the tests of those who use riskscale: ``pip install 'riskscale[test]'``.

In ``conftest.py``::

    pytest_plugins = ("riskscale.testing",)

and in a test, on an embedded server of its own (fakeredis, which runs the same Lua)::

    async def test_a_tenant_gets_ten_a_minute(riskscale_client, riskscale_clock):
        hub = riskscale.Hub(riskscale_client, clock=riskscale_clock)
        limiter = riskscale.RateLimiter(hub, riskscale.Limit(10, per=60), name="api")
        assert [bool(await limiter.hit("tenant-7")) for _ in range(11)] == [True] * 10 + [False]
        riskscale_clock.advance(60)
        assert await limiter.hit("tenant-7")

====================================  =================================================================
``riskscale_client``                  asyncio client, embedded
``riskscale_sync_client``             blocking client of the same embedded server
``riskscale_fake_server``             that server
``riskscale_outage``                  takes it away: ``with riskscale_outage: ...``
``riskscale_no_leaks``                fails the test if it leaves a key without TTL
``riskscale_clock``                   a :class:`VirtualClock`
``riskscale_server``                  a real server (:class:`ServerProcess`), one a test run, empty for each test
``riskscale_server_client``           asyncio client of it
``riskscale_server_sync_client``      blocking client of it
``riskscale_server_outage``           stalls it
====================================  =================================================================

The classes and functions below serve without pytest as well. An embedded server accepts scripts that a real one
refuses, so a script is only tested when a real server has run it.

PYTEST_DONT_REWRITE: a conftest may import names from here, and there is no assert to rewrite.
"""

from riskscale.testing.clock import VirtualClock
from riskscale.testing.embedded import fake_async_client, fake_client, new_fake_server
from riskscale.testing.leaks import delete_keys, keys_without_ttl
from riskscale.testing.outage import Outage
from riskscale.testing.server import (
    ServerFailed,
    ServerNotFound,
    ServerProcess,
    find_server,
    free_port,
    packaged_server,
)

pytest_plugins = ("riskscale.testing.fixtures",)

__all__ = [
    "Outage",
    "ServerFailed",
    "ServerNotFound",
    "ServerProcess",
    "VirtualClock",
    "delete_keys",
    "fake_async_client",
    "fake_client",
    "find_server",
    "free_port",
    "keys_without_ttl",
    "new_fake_server",
    "packaged_server",
]
