"""Fences rise also when the server forgot the lock; where they cannot, the guard refuses too much, not too little."""

from __future__ import annotations

from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import Guard, Hub, Lock, StaleFence
from riskscale.testing import ServerProcess, VirtualClock


async def fence_of(hub: Hub) -> int:
    async with Lock(hub, "job", ttl=10).hold(timeout=0) as lease:
        return lease.fence


@pytest.mark.parametrize("released", [True, False])
async def test_after_the_lock_is_lost(hub: Hub, raw_client: Any, prefix: str, released: bool) -> None:
    """Also while it is held: both holders think that they are; the guard knows the newer."""
    guard = Guard(hub, "job")
    for _ in range(5):
        lease = await Lock(hub, "job", ttl=10).acquire(timeout=0)
        assert lease is not None
        await guard.write("one", fence=lease.fence)
        if released:
            await lease.release()
        assert raw_client.delete(f"{prefix}rs1:{{job}}:lock") == 1
        newer = await fence_of(hub)
        assert newer > lease.fence
        await guard.write("two", fence=newer)
        with pytest.raises(StaleFence):
            await guard.write("three", fence=lease.fence)


@pytest.mark.owns_server
async def test_after_a_flush(hub: Hub, raw_client: Any) -> None:
    fences = []
    for _ in range(5):
        fences.append(await fence_of(hub))
        raw_client.flushall()
    assert fences == sorted(set(fences))


@pytest.mark.owns_server
def test_after_a_server_that_lost_everything(scratch_server: ServerProcess) -> None:
    def fence() -> int:
        with redis.Redis.from_url(scratch_server.url) as client:
            lease = riskscale.sync.Lock(client, "job", ttl=10).acquire(timeout=0)
            assert lease is not None
            return lease.fence

    first = fence()
    scratch_server.kill()
    scratch_server.start()
    assert fence() > first


async def test_a_lost_lock_and_a_clock_that_went_back(client: Any, raw_client: Any, prefix: str) -> None:
    """The one case in which a fence falls. The guard then refuses the new holder until fences are above its mark."""
    clock = VirtualClock()
    hub = Hub(client, key_prefix=prefix, clock=clock)
    guard, first = Guard(hub, "job"), await fence_of(hub)
    await guard.write("one", fence=first)
    raw_client.delete(f"{prefix}rs1c:{{job}}:lock")
    clock.advance(-60)
    second = await fence_of(hub)
    assert second < first
    with pytest.raises(StaleFence) as caught:
        await guard.write("two", fence=second)
    assert (caught.value.name, caught.value.fence, caught.value.mark) == ("job", second, first)
    clock.advance(61)
    await guard.write("three", fence=await fence_of(hub))
    assert raw_client.get(guard.key) == b"three"


async def test_a_clock_that_went_back_alone_lets_no_fence_fall(client: Any, prefix: str) -> None:
    clock = VirtualClock()
    hub = Hub(client, key_prefix=prefix, clock=clock)
    fences = []
    for _ in range(5):
        fences.append(await fence_of(hub))
        clock.advance(-3600)
    assert fences == sorted(set(fences))
