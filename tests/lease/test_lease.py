"""Leases as their holders meet them: kept, lost, taken by force, cancelled, ended; on servers and embedded."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import riskscale.sync
from riskscale import ArgumentError, Hub, LeaseLost, Lock, Semaphore, StateError

SOON = 10.0


async def take(lock: Lock) -> Any:
    """It is free. Where the process sleeps for longer than the ttl, there is no lease to be had of it."""
    while (lease := await lock.acquire(timeout=0)) is None:
        pass
    return lease


async def until_renewed(lock: Lock, ttl: float, times: int = 2) -> None:
    """What is left of the lease, by the server's clock, rises when it is renewed."""
    left, seen = ttl, 0
    while seen < times:
        info = await lock.inspect(0)
        assert info.held
        seen += info.remaining > left
        left = info.remaining
        await asyncio.sleep(0)


async def test_auto_renew_keeps_a_lease_for_as_long_as_it_is_wanted(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=1.5, auto_renew=True)
    async with lock as lease:
        await until_renewed(lock, 1.5)
        assert not lease.lost.is_set() and lease.remaining() > 0
    assert lease.released_at is not None and not lease.lost.is_set()


async def test_max_lifetime_ends_it(hub: Hub) -> None:
    lease = await take(Lock(hub, "job", ttl=0.4, auto_renew=True, max_lifetime=0.7))
    await asyncio.wait_for(lease.lost.wait(), SOON)
    assert lease.remaining() == 0
    with pytest.raises(LeaseLost):
        await lease.release()


async def test_a_lost_key_is_heard_of_at_the_next_renewal(hub: Hub, raw_client: Any, prefix: str) -> None:
    heard: list[Any] = []
    lease = await take(Lock(hub, "job", ttl=0.6, auto_renew=True, on_lost=heard.append))
    raw_client.delete(f"{prefix}rs1:{{job}}:lock")
    await asyncio.wait_for(lease.lost.wait(), SOON)
    assert heard == [lease] and lease.remaining() == 0
    with pytest.raises(LeaseLost):
        await lease.renew()


async def test_lost_is_set_without_renewing_too_and_only_once_called(hub: Hub) -> None:
    calls: list[str] = []

    async def on_lost(lease: Any) -> None:
        calls.append(lease.name)

    lease = await take(Lock(hub, "job", ttl=0.2, on_lost=on_lost))
    plain = await take(Lock(hub, "other", ttl=0.2))
    await asyncio.wait_for(lease.lost.wait(), SOON)
    await asyncio.wait_for(plain.lost.wait(), SOON)
    with pytest.raises(LeaseLost):
        await lease.release()
    assert calls == ["job"]


async def test_what_on_lost_raises_harms_nobody(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    def fail(lease: Any) -> None:
        raise RuntimeError("mine")

    lease = await take(Lock(hub, "job", ttl=0.1, on_lost=fail))
    await asyncio.wait_for(lease.lost.wait(), SOON)
    await hub.aclose()
    assert "on_lost of 'job' failed" in caplog.text


async def test_the_task_inside_is_cancelled_and_hears_why(hub: Hub, raw_client: Any, prefix: str) -> None:
    lock = Lock(hub, "job", ttl=0.6, auto_renew=True, cancel_on_lost=True)
    with pytest.raises(LeaseLost) as caught:
        async with lock:
            raw_client.delete(f"{prefix}rs1:{{job}}:lock")
            await asyncio.sleep(SOON)
    assert caught.value.name == "job"
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    await asyncio.sleep(0)  # no cancellation is left behind


async def test_a_cancellation_from_outside_stays_one(hub: Hub, raw_client: Any, prefix: str) -> None:
    entered, both = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with Lock(hub, "job", ttl=0.6, auto_renew=True, cancel_on_lost=True, on_lost=lambda _: both.set()):
            entered.set()
            try:
                await asyncio.sleep(SOON)
            except asyncio.CancelledError:
                await both.wait()
                raise

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    raw_client.delete(f"{prefix}rs1:{{job}}:lock")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)


async def test_an_error_of_the_block_goes_before_the_loss(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=0.1, cancel_on_lost=True)
    with pytest.raises(ValueError, match="mine"):
        async with lock:
            try:
                await asyncio.sleep(SOON)
            except asyncio.CancelledError:
                raise ValueError("mine") from None
    await asyncio.sleep(0)


async def test_leaving_in_another_task_is_an_error(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=30)
    lease = await take(lock)
    await lease.__aenter__()
    with pytest.raises(StateError, match="task where it was entered"):
        await asyncio.create_task(lease.__aexit__(None, None, None))
    assert not await lock.locked(), "it was released"
    await lock.__aenter__()
    with pytest.raises(StateError, match="task or thread"):
        await asyncio.create_task(lock.__aexit__(None, None, None))
    await lock.__aexit__(None, None, None)


async def test_a_lease_that_is_over_cannot_be_entered(hub: Hub) -> None:
    lease = await take(Lock(hub, "job", ttl=0.05))
    await asyncio.wait_for(lease.lost.wait(), SOON)
    with pytest.raises(LeaseLost):
        async with lease:
            pass


async def test_a_renewal_of_another_length_is_kept_up(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=3, auto_renew=True)
    async with lock as lease:
        await lease.renew(60)
        assert lease.remaining() > 50 and (await lock.inspect(0)).remaining > 50


async def test_nothing_is_left_of_a_bare_client(hub: Hub) -> None:
    hub.lasting = False  # as hub_of makes one around a client
    before = asyncio.all_tasks()
    lock = Lock(hub, "job", ttl=30, auto_renew=True)
    async with lock as lease:
        waiting = asyncio.create_task(lock.acquire(timeout=0.05))
        assert lease.remaining() > 0 and await waiting is None
    while asyncio.all_tasks() - before:
        await asyncio.sleep(0)


async def test_holds_of_one_owner_are_released_one_by_one(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=30)
    first, second = await lock.acquire(owner="order 7"), await lock.acquire(owner="order 7")
    assert first is not None and second is not None and first.fence == second.fence
    assert await lock.acquire(timeout=0, owner="order 8") is None and await lock.acquire(timeout=0) is None
    assert len((await lock.inspect()).holds) == 2
    await first.release()
    await first.release()
    assert await lock.locked()
    await second.release()
    assert not await lock.locked()


async def test_a_short_hold_does_not_cut_a_long_one(hub: Hub) -> None:
    long = await Lock(hub, "job", ttl=60).acquire(owner="me")
    short = await Lock(hub, "job", ttl=1).acquire(owner="me")
    assert long is not None and short is not None
    await short.renew()
    assert (await Lock(hub, "job", ttl=1).inspect()).remaining > 50
    await short.release()
    await long.release()


async def test_a_race_is_won_by_whoever_is_told_that_the_lock_is_free(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=30, fair=False)
    held = await take(lock)
    waiting = [asyncio.create_task(lock.acquire(timeout=SOON)) for _ in range(5)]
    while (await lock.inspect()).waiting or (not hub.mailbox.channel and hub.mailbox._possible):
        await asyncio.sleep(0)
    fences = []
    for _ in range(5):
        await held.release()
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=SOON)
        (task,), waiting = done, list(rest)
        held = task.result()
        assert held is not None
        fences.append(held.fence)
    await held.release()
    assert fences == sorted(fences)


async def test_who_queues_goes_before_who_races(hub: Hub) -> None:
    held = await take(Lock(hub, "job", ttl=30))
    queued = asyncio.create_task(Lock(hub, "job", ttl=30).acquire())
    while not (await Lock(hub, "job", ttl=30).inspect()).waiting:
        await asyncio.sleep(0)
    racing = asyncio.create_task(Lock(hub, "job", ttl=30, fair=False).acquire())
    await held.release()
    first = await asyncio.wait_for(queued, SOON)
    assert first is not None and not racing.done()
    await first.release()
    second = await asyncio.wait_for(racing, SOON)
    assert second is not None
    await second.release()


@pytest.mark.parametrize(
    ("terms", "argument"),
    [
        ({"metadata": {"x": "y" * 1024}}, "metadata"),
        ({"metadata": {"x": object()}}, "metadata"),
        ({"metadata": {"x": float("nan")}}, "metadata"),
        ({"max_lifetime": -1}, "max_lifetime"),
        ({"min_replicas": -1}, "min_replicas"),
        ({"replicas_within": -1}, "replicas_within"),
        ({"on_lost": "call me"}, "on_lost"),
    ],
)
def test_bad_terms_are_named(client: Any, terms: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError, match=argument):
        Lock(client, "job", ttl=1, **terms)


async def test_metadata_is_a_mapping_or_text(hub: Hub) -> None:
    lock = Lock(hub, "job", ttl=30, metadata={"host": "büro-7", "pid": 12})
    async with lock:
        assert (await lock.inspect()).metadata == '{"host":"büro-7","pid":12}'


def test_threads_hear_of_a_loss(sync_client: Any, raw_client: Any, prefix: str) -> None:
    before = set(threading.enumerate())
    with riskscale.sync.Hub(sync_client, key_prefix=prefix) as hub:
        heard = threading.Event()
        lock = riskscale.sync.Lock(hub, "job", ttl=0.6, auto_renew=True, on_lost=lambda _: heard.set())
        with pytest.raises(LeaseLost), lock as lease:
            raw_client.delete(f"{prefix}rs1:{{job}}:lock")
            assert lease.lost.wait(SOON) and heard.wait(SOON)
    assert not [each for each in set(threading.enumerate()) - before if each.name.startswith("riskscale-")]


def test_threads_keep_a_lease(sync_client: Any, prefix: str) -> None:
    with riskscale.sync.Hub(sync_client, key_prefix=prefix) as hub:
        lock = riskscale.sync.Lock(hub, "job", ttl=0.6, auto_renew=True)
        with lock as lease:
            left, seen = 0.6, 0
            while seen < 3:
                now = lock.inspect(0).remaining
                seen += now > left
                left = now
            assert not lease.lost.is_set()


def test_a_thread_cannot_be_cancelled(sync_client: Any) -> None:
    with pytest.raises(ArgumentError, match="cancel_on_lost"):
        riskscale.sync.Lock(sync_client, "job", ttl=1, cancel_on_lost=True)


@pytest.mark.server
async def test_who_loses_by_force_hears_at_once(hub: Hub, raw_client: Any, prefix: str) -> None:
    lease = await take(Lock(hub, "job", ttl=3600))
    lost = lease.lost
    while not hub.mailbox.channel:
        await asyncio.sleep(0)
    raw_client.publish(f"{prefix}rs1:lost", f"{lease.token} lost")
    await asyncio.wait_for(lost.wait(), SOON)
    assert lease.remaining() == 0


async def test_a_hold_is_of_one_block_or_decorates_a_function(hub: Hub) -> None:
    semaphore = Semaphore(hub, "pool", limit=2, ttl=60)
    hold = semaphore.hold(timeout=0)
    async with hold:
        with pytest.raises(StateError, match="one block"):
            await hold.__aenter__()
        assert (await semaphore.inspect()).held == 1
    assert (await semaphore.inspect()).held == 0

    @semaphore.hold(timeout=0)
    async def used() -> int:
        return (await semaphore.inspect()).held

    assert [await used(), await used()] == [1, 1] and (await semaphore.inspect()).held == 0
