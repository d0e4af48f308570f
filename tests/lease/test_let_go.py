"""Who wants to let go and cannot reach the server holds nothing for ever: the lease is renewed no more, and ends."""

from __future__ import annotations

from typing import Any

import pytest
import redis

import riskscale
import riskscale.sync
from riskscale.testing import Outage, fake_async_client, fake_client, new_fake_server

PATIENCE = 60
"""Seconds; a lease that goes on being renewed outlasts it."""


@pytest.mark.parametrize("explicit", [False, True])
async def test_a_release_that_failed_is_the_last_renewal(explicit: bool) -> None:
    server = new_fake_server()
    outage = Outage.of_embedded(server)
    async with riskscale.Hub(fake_async_client(server)) as hub:
        lock = riskscale.Lock(hub, "a", ttl=0.5, auto_renew=True)
        kept: list[Any] = []  # a reference, as a traceback keeps one
        with pytest.raises(redis.ConnectionError):
            async with lock.hold(timeout=0) as lease:
                kept.append(lease)
                outage.begin()
                if explicit:
                    await lease.release()
        outage.end()
        assert not kept[0].lost.is_set(), "it was let go, not lost"
        taken = await lock.acquire(timeout=PATIENCE)
        assert taken is not None
        assert taken.fence > kept[0].fence
        await taken.release()


@pytest.mark.parametrize("explicit", [False, True])
def test_in_threads(explicit: bool) -> None:
    server = new_fake_server()
    outage = Outage.of_embedded(server)
    with riskscale.sync.Hub(fake_client(server)) as hub:
        lock = riskscale.sync.Lock(hub, "a", ttl=0.5, auto_renew=True)
        kept: list[Any] = []
        with pytest.raises(redis.ConnectionError), lock.hold(timeout=0) as lease:
            kept.append(lease)
            outage.begin()
            if explicit:
                lease.release()
        outage.end()
        assert not kept[0].lost.is_set()
        taken = lock.acquire(timeout=PATIENCE)
        assert taken is not None
        taken.release()
