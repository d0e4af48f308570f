"""Semaphores and read/write locks as their users meet them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import riskscale.sync
from riskscale import AcquireTimeout, ArgumentError, Hub, LeaseLost, ReadWriteLock, Semaphore, StateError


async def until_waiting(what: Semaphore | ReadWriteLock, many: int) -> None:
    while (await what.inspect()).waiting < many:
        await asyncio.sleep(0)


async def test_no_more_than_the_limit(hub: Hub) -> None:
    semaphore = Semaphore(hub, "gpu", limit=3, ttl=10, metadata={"host": "7"})
    now, most = 0, 0

    async def work() -> int:
        nonlocal now, most
        async with semaphore.hold() as lease:
            now, most = now + 1, max(most, now + 1)
            await asyncio.sleep(0.001)
            now -= 1
            return lease.fence

    fences = await asyncio.gather(*(work() for _ in range(12)))
    assert most == 3 and len(set(fences)) == 12
    info = await semaphore.inspect()
    assert (info.held, info.sum, info.waiting, info.holders) == (0, 0, 0, ())


async def test_weights(hub: Hub) -> None:
    semaphore = Semaphore(hub, "gpu", limit=4, ttl=10, metadata={"host": "7"})
    three = await semaphore.acquire(weight=3)
    assert three is not None and await semaphore.acquire(timeout=0, weight=2) is None
    async with semaphore as one:
        (first, second) = (await semaphore.inspect()).holders
        assert {first.weight, second.weight} == {3, 1} and first.metadata == '{"host":"7"}'
        assert {first.fence, second.fence} == {three.fence, one.fence}
        waiting = asyncio.create_task(semaphore.acquire(weight=4))
        await until_waiting(semaphore, 1)
        with pytest.raises(AcquireTimeout):
            async with semaphore.hold(timeout=0.05):
                pass
        await three.release()
    lease = await waiting
    assert lease is not None and (await semaphore.inspect()).sum == 4
    await lease.renew(20)
    assert 19 < lease.remaining() <= 20
    await lease.release()
    await lease.release()
    with pytest.raises(LeaseLost):
        await lease.renew()


async def test_a_waiter_that_is_cancelled_leaves_nothing(hub: Hub) -> None:
    semaphore = Semaphore(hub, "gpu", limit=1, ttl=10)
    async with semaphore.hold():
        task = asyncio.create_task(semaphore.acquire())
        await until_waiting(semaphore, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await semaphore.inspect()).waiting == 0
    assert (await semaphore.inspect()).held == 0


async def test_a_lease_is_renewed_and_its_loss_is_told(hub: Hub) -> None:
    semaphore = Semaphore(hub, "gpu", limit=2, ttl=0.3, auto_renew=True)
    first, second = await semaphore.acquire(), await semaphore.acquire()
    assert first is not None and second is not None
    sent = first.remaining()
    while first.remaining() <= sent:  # until a renewal has come
        sent = first.remaining()
        await asyncio.sleep(0.01)
    await hub.client.delete(hub.key("gpu") + ":semaphore")
    await asyncio.wait_for(first.lost.wait(), 10)
    await asyncio.wait_for(second.lost.wait(), 10)
    with pytest.raises(LeaseLost):
        await first.release()


async def test_readers_together_a_writer_alone_and_no_starving(hub: Hub) -> None:
    rw, order = ReadWriteLock(hub, "map", ttl=10), list[str]()

    async def run(name: str, reads: bool) -> None:
        async with rw.read() if reads else rw.write() as lease:
            order.append(name)
            assert lease.fence

    async with rw.read(), rw.read():
        assert (await rw.inspect()).held == 2
        tasks = []
        for at, name in enumerate(["writer", "reader 1", "reader 2"]):
            tasks.append(asyncio.create_task(run(name, at > 0)))
            await until_waiting(rw, at + 1)
        assert await rw.read().acquire(timeout=0) is None, "a writer waits"
    await asyncio.gather(*tasks)
    assert order[0] == "writer" and set(order[1:]) == {"reader 1", "reader 2"}


async def test_a_readers_end_does_not_cut_another_readers_lease(hub: Hub) -> None:
    long, short = ReadWriteLock(hub, "map", ttl=60), ReadWriteLock(hub, "map", ttl=0.05)
    lease = await long.read().acquire()
    brief = await short.read().acquire()
    assert lease is not None and brief is not None
    with pytest.raises(LeaseLost):
        while True:
            await brief.renew(0.001)
    assert await long.write().acquire(timeout=0) is None
    await lease.renew()
    await lease.release()
    async with long.write() as writer:
        assert writer.fence > lease.fence


def test_in_threads(sync_hub: riskscale.sync.Hub) -> None:
    semaphore = riskscale.sync.Semaphore(sync_hub, "gpu", limit=2, ttl=10)
    rw, held, most, mutex = riskscale.sync.ReadWriteLock(sync_hub, "map", ttl=10), 0, 0, threading.Lock()

    def work() -> None:
        nonlocal held, most
        with semaphore.hold():
            with mutex:
                held, most = held + 1, max(most, held + 1)
            with rw.read():
                pass
            with mutex:
                held -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 2 and semaphore.inspect().held == 0
    with rw.write() as writer:
        assert rw.read().acquire(timeout=0) is None and rw.inspect(0).held == 1
    with semaphore, pytest.raises(AcquireTimeout), semaphore.hold(timeout=0, weight=2):
        pass
    with pytest.raises(LeaseLost):
        writer.renew()


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("limit", lambda hub: Semaphore(hub, "a", limit=0, ttl=1)),
        ("limit", lambda hub: Semaphore(hub, "a", limit=10**9 + 1, ttl=1)),
        ("limit", lambda hub: Semaphore(hub, "a", limit=True, ttl=1)),
        ("limit", lambda hub: Semaphore(hub, "a", limit=1.5, ttl=1)),  # type: ignore[arg-type]
        ("ttl", lambda hub: Semaphore(hub, "a", limit=1, ttl=0.0009)),
        ("ttl", lambda hub: ReadWriteLock(hub, "a", ttl=367 * 86_400)),
        ("wait", lambda hub: ReadWriteLock(hub, "a", ttl=1, wait=-1)),
        ("name", lambda hub: Semaphore(hub, "", limit=1, ttl=1)),
        ("metadata", lambda hub: ReadWriteLock(hub, "a", ttl=1, metadata="x" * 1025)),
    ],
)
def test_bad_arguments(hub: Hub, argument: str, make: Any) -> None:
    with pytest.raises(ArgumentError, match=argument):
        make(hub)


async def test_bad_weights_and_keys(hub: Hub) -> None:
    semaphore = Semaphore(hub, "gpu", limit=4, ttl=10)
    for weight in (0, 5, -1, 1.0, True):
        with pytest.raises(ArgumentError, match="weight"):
            await semaphore.acquire(weight=weight)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="timeout"):
        await semaphore.acquire(timeout=-1)
    assert (await semaphore.inspect()).fence == 0
    await hub.client.set(hub.key("gpu") + ":semaphore", "another's", ex=60)
    with pytest.raises(StateError):
        await semaphore.acquire(timeout=0)
    with pytest.raises(StateError):
        await semaphore.inspect()
