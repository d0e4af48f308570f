"""What could not be given back is given back when it is granted: the others of the same hub do not pay for it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import Hub, Lock
from riskscale._core.scripts import script

pytestmark = pytest.mark.server
SOON = 10.0


def reachable(raw_client: Any, prefix: str) -> int:
    """How many of the queue can be told."""
    return sum(b":mailbox:" in each for each in raw_client.hvals(f"{prefix}rs1:{{job}}:wait"))


def broken(*_: Any) -> Any:
    raise redis.ConnectionError("never sent")


async def test_a_dead_place_does_not_hold_up_the_living_of_its_hub(
    hub: Hub, connect: Any, raw_client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def until(many: int) -> None:
        while reachable(raw_client, prefix) < many:
            await asyncio.sleep(0.001)

    held = await Lock(hub, "job", ttl=60).acquire()
    assert held is not None
    async with Hub(connect(), key_prefix=prefix) as other:
        gone = asyncio.create_task(Lock(other, "job", ttl=60).acquire())
        await until(1)
        with monkeypatch.context() as patch:
            patch.setattr(other.client, "evalsha", broken)
            gone.cancel()
            await asyncio.wait({gone})
        second = asyncio.create_task(Lock(other, "job", ttl=60).acquire())
        await until(2)
        third = asyncio.create_task(Lock(hub, "job", ttl=60).acquire())
        await until(3)
        await held.release()
        done, _ = await asyncio.wait({second, third}, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        assert done == {second}, "it was there first, alive and within reach"
        lease = await second
        assert lease is not None
        await lease.release()
        last = await asyncio.wait_for(third, SOON)
        assert last is not None
        await last.release()


def test_nor_among_threads(
    sync_hub: riskscale.sync.Hub, sync_connect: Any, raw_client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def wait(hub: riskscale.sync.Hub, name: str, many: int) -> threading.Thread:
        def run() -> None:
            lease = riskscale.sync.Lock(hub, "job", ttl=60).acquire(timeout=SOON)
            assert lease is not None
            order.append(name)
            lease.release()

        thread = threading.Thread(target=run)
        thread.start()
        while reachable(raw_client, prefix) < many:
            time.sleep(0.001)
        return thread

    held = riskscale.sync.Lock(sync_hub, "job", ttl=60).acquire()
    assert held is not None
    with riskscale.sync.Hub(sync_connect(), key_prefix=prefix) as other:
        evalsha = other.client.evalsha

        def broken_release(sha: str, *words: Any) -> Any:
            return broken() if sha == script("lock.release").sha else evalsha(sha, *words)

        with monkeypatch.context() as patch:
            patch.setattr(other.client, "evalsha", broken_release)
            while not reachable(raw_client, prefix):  # a first look, without a mailbox, may be the last
                assert riskscale.sync.Lock(other, "job", ttl=60).acquire(timeout=0.1) is None
        threads = [wait(other, "second", 2), wait(sync_hub, "third", 3)]
        held.release()
        for thread in threads:
            thread.join(SOON)
    assert order == ["second", "third"]
