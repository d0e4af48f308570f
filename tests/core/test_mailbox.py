"""The one subscription of a hub: who is told what, and what happens without it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import Hub, HubClosed, Lock

SOON = 10.0
pytestmark = pytest.mark.server


async def until(lock: Lock, waiting: int) -> None:
    while (await lock.inspect()).waiting != waiting:
        await asyncio.sleep(0)


async def confirmed(hub: Hub) -> str:
    while not hub.mailbox.channel:
        await asyncio.sleep(0)
    return hub.mailbox.channel


def channels(raw_client: Any, prefix: str) -> list[bytes]:
    return sorted(raw_client.pubsub_channels(f"{prefix}*"))


async def test_many_locks_share_one_subscription_that_ends_with_the_hub(
    client: Any, raw_client: Any, prefix: str
) -> None:
    before = asyncio.all_tasks()
    async with Hub(client, key_prefix=prefix) as hub:
        held = [await Lock(hub, f"job{at}", ttl=30).acquire() for at in range(20)]
        tasks = [asyncio.create_task(Lock(hub, f"job{at}", ttl=30).acquire()) for at in range(20) for _ in range(3)]
        channel = await confirmed(hub)
        for at in range(20):
            await until(Lock(hub, f"job{at}", ttl=30), 3)
        assert channels(raw_client, prefix) == sorted(
            [channel.encode(), *(f"{prefix}rs1:{each}".encode() for each in ("breakers", "lost", "partitions"))]
        )
        assert raw_client.pubsub_numsub(channel) == [(channel.encode(), 1)]
        for lease in held:
            assert lease is not None
            await lease.release()
        firsts, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        assert firsts
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert asyncio.all_tasks() == before
    while channels(raw_client, prefix):
        await asyncio.sleep(0.001)


async def test_a_lost_subscription_comes_back_under_another_name(
    hub: Hub, raw_client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    lock = Lock(hub, "job", ttl=3600)
    held = await lock.acquire()
    task = asyncio.create_task(lock.acquire())
    first = await confirmed(hub)
    await until(lock, 1)
    mine = [each["id"] for each in raw_client.client_list(_type="pubsub")]
    for each in mine:
        raw_client.execute_command("CLIENT", "KILL", "ID", each)
    while hub.mailbox.channel in ("", first):
        await asyncio.sleep(0.001)
    assert held is not None
    await held.release()
    lease = await asyncio.wait_for(task, SOON)
    assert lease is not None
    await lease.release()


async def test_without_the_right_to_subscribe_they_poll(
    client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Forbidden:
        async def subscribe(self, *_: str) -> None:
            raise redis.ResponseError("NOPERM this user has no permissions")

        async def aclose(self) -> None:
            pass

    monkeypatch.setattr(client, "pubsub", Forbidden)
    async with Hub(client, key_prefix=prefix) as hub:
        lock = Lock(hub, "job", ttl=30)
        held = await lock.acquire()
        task = asyncio.create_task(lock.acquire())
        await until(lock, 1)
        assert held is not None
        await held.release()
        lease = await asyncio.wait_for(task, SOON)
        assert lease is not None and not hub.mailbox.channel
        await lease.release()
    assert caplog.text.count("no subscription (ResponseError)") == 1


async def test_a_client_without_pubsub_polls(client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "pubsub", None)
    async with Hub(client, key_prefix=prefix) as hub:
        lock = Lock(hub, "job", ttl=30)
        async with lock:
            assert await lock.acquire(timeout=0.05) is None


async def test_a_bare_client_keeps_its_subscription_no_longer_than_it_waits(
    hub: Hub, raw_client: Any, prefix: str
) -> None:
    hub.lasting = False
    before = asyncio.all_tasks()
    lock = Lock(hub, "job", ttl=30)
    async with lock:
        tasks = [asyncio.create_task(lock.acquire(timeout=0.2)) for _ in range(3)]
        await confirmed(hub)
        assert await asyncio.gather(*tasks) == [None, None, None]
    assert asyncio.all_tasks() == before and not hub.mailbox.channel
    while channels(raw_client, prefix):
        await asyncio.sleep(0.001)


async def test_a_client_that_swallows_a_cancellation_does_not_keep_the_hub_from_closing(
    client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio.wait_for of Python 3.11 does, through which redis-py sends where it has a socket_timeout."""
    pubsub, subscribing = client.pubsub(), asyncio.Event()
    subscribe = pubsub.subscribe

    async def swallowing(*channels: str) -> None:
        await subscribe(*channels)
        subscribing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(pubsub, "subscribe", swallowing)
    monkeypatch.setattr(client, "pubsub", lambda: pubsub)
    hub = Hub(client, key_prefix=prefix)
    held = await Lock(hub, "job", ttl=60).acquire()
    waiting = asyncio.create_task(Lock(hub, "job", ttl=60).acquire())
    await subscribing.wait()
    assert held is not None
    await asyncio.wait_for(hub.aclose(), SOON)
    with pytest.raises(HubClosed):
        await waiting


async def test_a_name_too_long_for_a_channel_polls(client: Any) -> None:
    hub = Hub(client, key_prefix="x" * 200)
    assert hub.mailbox._possible is False


def test_threads_share_one_subscription_too(sync_client: Any, raw_client: Any, prefix: str) -> None:
    hub = riskscale.sync.Hub(sync_client, key_prefix=prefix)
    lock = riskscale.sync.Lock(hub, "job", ttl=30)
    held = lock.acquire()
    fences, closed = [], []

    def work() -> None:
        try:
            with lock.hold() as lease:
                fences.append(lease.fence)
        except HubClosed:
            closed.append(1)

    before = set(threading.enumerate())
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    while lock.inspect().waiting < 5 or not hub.mailbox.channel:
        pass
    for each in raw_client.client_list(_type="pubsub"):  # lost, and there again
        raw_client.execute_command("CLIENT", "KILL", "ID", each["id"])
    assert held is not None
    held.release()
    for thread in threads:
        thread.join(SOON)
    assert len(fences) == 5 and fences == sorted(fences)
    blocked = [threading.Thread(target=work)]
    held = lock.acquire()
    blocked[0].start()
    while lock.inspect().waiting < 1:
        pass
    hub.close()
    blocked[0].join(SOON)
    assert closed == [1] and set(threading.enumerate()) <= before
