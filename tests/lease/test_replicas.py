"""A grant that must be on replicas: real servers, one of which follows the other, or none does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

import riskscale.sync
from riskscale import AcquireTimeout, Hub, Lock, MultiLock
from riskscale.testing import ServerProcess

pytestmark = pytest.mark.owns_server


@pytest.fixture
async def primary(scratch_server: ServerProcess) -> AsyncIterator[Any]:
    client = redis.asyncio.from_url(scratch_server.url, socket_timeout=10)
    yield client
    await client.aclose()


async def test_a_grant_that_a_replica_has(scratch_server: ServerProcess, primary: Any) -> None:
    with ServerProcess(args=("--replicaof", "127.0.0.1", str(scratch_server.port))) as follower:
        replica = redis.asyncio.from_url(follower.url)
        while (await replica.info("replication"))["master_link_status"] != "up":
            await asyncio.sleep(0.01)
        async with Hub(primary) as hub:
            lock = Lock(hub, "job", ttl=30, min_replicas=1, replicas_within=10)
            async with lock as lease:
                assert lease.replicas == 1
                assert await replica.hget("rs1:{job}:lock", "owner") == lease.token.encode(), "it is there already"
            async with MultiLock(hub, ["a", "b"], tag="t", ttl=30, min_replicas=1, replicas_within=10) as lease:
                assert lease.replicas == 1
            await primary.script_flush()
            async with lock as lease:
                assert lease.replicas == 1
        await replica.aclose()


async def test_too_few_replicas(primary: Any) -> None:
    async with Hub(primary) as hub:
        strict = Lock(hub, "job", ttl=30, min_replicas=1, replicas_within=0.05)
        with pytest.raises(AcquireTimeout, match="reached 0 of 1 replicas"):
            await strict.acquire()
        with pytest.raises(AcquireTimeout, match="reached 0 of 1 replicas"):
            await MultiLock(hub, ["job", "other"], tag="t", ttl=30, min_replicas=1, replicas_within=0.05).acquire()
        assert not await strict.locked(), "it was given back"
        assert not await Lock(hub, "other", tag="t", ttl=30).locked()
        lease = await Lock(hub, "job", ttl=30, min_replicas=1, replicas_within=0.05, strict=False).acquire()
        assert lease is not None and lease.replicas == 0
        await lease.release()


def test_threads_wait_for_replicas_too(scratch_server: ServerProcess) -> None:
    with redis.Redis.from_url(scratch_server.url) as client, riskscale.sync.Hub(client) as hub:
        lock = riskscale.sync.Lock(hub, "job", ttl=30, min_replicas=1, replicas_within=0.05)
        with pytest.raises(AcquireTimeout, match="reached 0 of 1 replicas"):
            lock.acquire()
        with riskscale.sync.Lock(hub, "job", ttl=30, min_replicas=1, replicas_within=0.05, strict=False) as lease:
            assert lease.replicas == 0
