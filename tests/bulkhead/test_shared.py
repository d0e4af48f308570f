"""Shared bulkheads as their users meet them, in tasks and in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import riskscale.sync
from riskscale import (
    AcquireTimeout,
    ArgumentError,
    BulkheadFull,
    Hub,
    InMemoryMetrics,
    LeaseLost,
    Semaphore,
    SharedBulkhead,
)
from riskscale._core.call import Finish, Listen
from riskscale._core.mailbox import Slot
from riskscale.bulkhead.places import Places
from riskscale.lease.grant import Seen
from riskscale.semaphore.spec import SemaphoreSpec
from tests.bulkhead.test_executor import Jobs, Threads, depth, until


async def until_full(bulkhead: SharedBulkhead, running: int, waiting: int) -> None:
    while ((seen := await bulkhead.status()).running, seen.waiting) != (running, waiting):
        await asyncio.sleep(0)


async def test_so_many_run_and_so_many_wait(hub: Hub) -> None:
    bulkhead, jobs = SharedBulkhead(hub, "db", 2, 2), Jobs()
    callers = []
    for number, name in enumerate("abcd", 1):
        callers.append(asyncio.create_task(bulkhead.submit(jobs.run, name)))
        await until_full(bulkhead, min(number, 2), max(0, number - 2))
    for refused in (bulkhead.submit(jobs.run, "e"), bulkhead.acquire(), bulkhead.hold().__aenter__()):
        with pytest.raises(BulkheadFull, match="Bulkhead: max concurrent and queue full") as caught:
            await refused
        assert caught.value.name == "db"
    assert await bulkhead.acquire(timeout=0) is None, "one that would not have waited"
    status = await bulkhead.status()
    assert (status.name, status.max_concurrent, status.max_queued) == ("db", 2, 2)
    jobs.end("b")
    await until(lambda: len(jobs.began) == 3)
    jobs.end("a", "c", "d")
    assert await asyncio.gather(*callers) == list("abcd") and jobs.began == list("abcd")
    await until_full(bulkhead, 0, 0)
    assert await bulkhead.submit(max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await bulkhead.submit(lambda: 1 // 0)


async def test_no_queue_at_all(hub: Hub) -> None:
    bulkhead = SharedBulkhead(hub, "db", 1, 0)
    async with bulkhead:
        with pytest.raises(BulkheadFull):
            await bulkhead.submit(max, 1, 2)
    assert await bulkhead.submit(max, 1, 2) == 2


async def test_weights(hub: Hub) -> None:
    bulkhead, jobs = SharedBulkhead(hub, "db", 4, 5), Jobs()
    heavy = asyncio.create_task(bulkhead.submit_weighing(3, jobs.run, "heavy"))
    await until_full(bulkhead, 3, 0)
    whole = asyncio.create_task(bulkhead.submit_weighing(4, jobs.run, "whole"))
    await until_full(bulkhead, 3, 1)
    light = asyncio.create_task(bulkhead.submit(jobs.run, "light"))
    await until_full(bulkhead, 3, 2)
    jobs.end("heavy", "light")
    await until(lambda: len(jobs.began) == 2)
    assert jobs.began == ["heavy", "whole"], "nobody passes by being small"
    jobs.end("whole")
    assert await asyncio.gather(heavy, whole, light) == ["heavy", "whole", "light"]


async def test_who_gives_up_leaves_nothing(hub: Hub) -> None:
    bulkhead = SharedBulkhead(hub, "db", 1, 1, wait=0.01)
    async with bulkhead.hold():
        with pytest.raises(AcquireTimeout, match="bulkhead 'db' did not come free"):
            await bulkhead.submit(max, 1, 2)
        waiting = asyncio.create_task(SharedBulkhead(hub, "db", 1, 1).submit(max, 1, 2))
        await until_full(bulkhead, 1, 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until_full(bulkhead, 1, 0)
    await until_full(bulkhead, 0, 0)


def test_a_refusal_is_one_call() -> None:
    spec = SemaphoreSpec.of_bulkhead("db", "rs1:{db}", 1, 1, 30, None)
    places = Places(Hub(_Client()), spec)
    flow = places.enter(None, 1, lambda grant: grant, None)
    assert isinstance(next(flow), Listen)
    asked = flow.send("box")
    assert isinstance(asked, Finish) and asked.call.args[2:6] == ("box", 1, 1, 1)
    with pytest.raises(BulkheadFull):
        flow.send(asked.call.decode([0, 7, 1000, -1, 10**15]))
    assert not places._asking


def test_one_that_had_a_place_and_lost_it_gives_nothing_back_when_refused() -> None:
    """It was taken for dead while it waited, and others came: it is told so as anybody is."""
    places = Places(Hub(_Client()), SemaphoreSpec.of_bulkhead("db", "rs1:{db}", 1, 1, 30, None))
    flow = places.enter(None, 1, lambda grant: grant, None)
    next(flow)
    flow.send("box")
    flow.send(Seen(False, 7, 0.0, 0, 1e9))
    asked = flow.send("box")
    assert isinstance(asked, Finish)
    with pytest.raises(BulkheadFull):
        flow.send(Seen(False, 7, 1.0, -1, 1e9, full=True))


class _Client:
    """As much of an asyncio client as a hub asks for."""

    async def evalsha(self, *_: Any) -> None: ...

    async def eval(self, *_: Any) -> None: ...


async def test_those_who_wait_ask_again_when_it_is_resized(hub: Hub) -> None:
    hub.mailbox.add(slot := Slot("somebody", asyncio.Event))
    SharedBulkhead(hub, "db", 3, 2).resize(1)
    assert slot.event.is_set()


async def test_it_shrinks_by_draining_and_grows_at_once(hub: Hub) -> None:
    bulkhead, jobs = SharedBulkhead(hub, "db", 3, 2), Jobs()
    names = "abcde"
    callers = []
    for number, name in enumerate(names, 1):
        callers.append(asyncio.create_task(bulkhead.submit(jobs.run, name)))
        await until_full(bulkhead, min(number, 3), max(0, number - 3))
    bulkhead.resize(1)
    assert (await bulkhead.status()).max_concurrent == 1
    while {share.limit async for share in _waiters(hub)} != {1}:
        await asyncio.sleep(0)
    jobs.end("a", "b")
    await until_full(bulkhead, 1, 2)
    assert jobs.began == ["a", "b", "c"], "two have ended, and nothing began"
    bulkhead.resize(3, 0)
    await until(lambda: len(jobs.began) == 5)
    with pytest.raises(BulkheadFull):
        await bulkhead.submit(jobs.run, "f")
    jobs.end(*names)
    await asyncio.gather(*callers)
    for argument, given in (("limit", (0,)), ("max_queued", (1, -1))):
        with pytest.raises(ArgumentError, match=argument):
            bulkhead.resize(*given)


class _Limit:
    def __init__(self, record: bytes) -> None:
        self.limit = int(record.split(b"|")[3])


async def _waiters(hub: Hub) -> Any:
    """The records of those who wait."""
    for record in (await hub.client.hgetall(hub.key("db") + ":bulkhead-wait")).values():
        yield _Limit(record)


async def test_a_place_that_was_lost_costs_no_result(client: Any, prefix: str) -> None:
    metrics = InMemoryMetrics()
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        bulkhead, other = SharedBulkhead(hub, "db", 1, 1), SharedBulkhead(hub, "db", 1, 1, cancel_on_lost=True, ttl=0.3)

        async def loses_it() -> str:
            await client.delete(hub.key("db") + ":bulkhead")
            return "done"

        assert await bulkhead.submit(loses_it) == "done"
        assert metrics.total("bulkhead_lost", bulkhead="db") == 1
        with pytest.raises(LeaseLost):
            await other.submit(lambda: asyncio.gather(loses_it(), asyncio.Event().wait()))
        async with bulkhead.hold():
            await bulkhead.status()
            assert depth(metrics) == [1, 0, 1]
            waiting = asyncio.create_task(bulkhead.submit(max, 1, 2))
            await until_full(bulkhead, 1, 1)
            with pytest.raises(BulkheadFull):
                await bulkhead.submit(max, 1, 2)
        await waiting
        assert metrics.total("bulkhead_rejected", bulkhead="db") == metrics.total("bulkhead_lost") == 1
        assert len(metrics.observed("bulkhead_wait_seconds", bulkhead="db")) == 4


@pytest.mark.embedded
async def test_a_server_that_is_gone_costs_no_result(hub: Hub, backend: Any) -> None:
    bulkhead = SharedBulkhead(hub, "db", 1, 1)
    assert await bulkhead.submit(lambda: backend.outage.begin() or "done") == "done"
    backend.outage.end()


async def test_it_is_apart_from_a_semaphore_of_that_name(hub: Hub) -> None:
    async with Semaphore(hub, "db", limit=1, ttl=10), SharedBulkhead(hub, "db", 1, 0):
        pass


def test_in_threads(sync_hub: riskscale.sync.Hub) -> None:
    bulkhead = riskscale.sync.SharedBulkhead(sync_hub, "db", 1, 1)
    threads = Threads(_Counted(bulkhead))  # type: ignore[arg-type]
    for name in "abc":
        threads.submit(name)
    threads.until(lambda: bool(threads.began))
    assert isinstance(threads.results["c"], BulkheadFull) and threads.began == ["a"]
    bulkhead.resize(2)
    threads.until(lambda: threads.began == ["a", "b"])
    threads.end("a", "b")
    threads.join()
    assert bulkhead.status().running == 0
    assert bulkhead.submit_weighing(2, int, "11", base=2) == 3
    with bulkhead.hold(weight=2), pytest.raises(BulkheadFull):
        riskscale.sync.SharedBulkhead(sync_hub, "db", 2, 0).submit(max, 1, 2)

    def loses_it() -> str:
        sync_hub.client.delete(sync_hub.key("db") + ":bulkhead")
        return "done"

    assert bulkhead.submit(loses_it) == "done"
    with pytest.raises(ZeroDivisionError):
        bulkhead.submit(lambda: 1 // 0)


class _Counted:
    """With the counts of the server, as Threads asks for them."""

    def __init__(self, bulkhead: riskscale.sync.SharedBulkhead) -> None:
        self._bulkhead, self._mutex = bulkhead, threading.Lock()
        self.submit = bulkhead.submit

    @property
    def running(self) -> int:
        return self._bulkhead.status().running

    @property
    def waiting(self) -> int:
        return self._bulkhead.status().waiting


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("limit", {"limit": 0}),
        ("limit", {"limit": 10**9 + 1}),
        ("max_queued", {"max_queued": -1}),
        ("max_queued", {"max_queued": None}),
        ("max_queued", {"max_queued": 10**6 + 1}),
        ("ttl", {"ttl": 0}),
        ("wait", {"wait": -1}),
        ("name", {"name": ""}),
    ],
)
def test_bad_arguments(hub: Hub, argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=argument):
        SharedBulkhead(hub, **{"name": "db", "limit": 1, "max_queued": 1, **given})


async def test_bad_weights_and_tasks(hub: Hub) -> None:
    bulkhead = SharedBulkhead(hub, "db", 2, 1)
    for weight in (0, 3, 1.0):
        with pytest.raises(ArgumentError, match="weight"):
            await bulkhead.submit_weighing(weight, max, 1, 2)  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match="task"):
        await bulkhead.submit(None)  # type: ignore[call-overload]
    assert (await bulkhead.inspect()).fence == 0, "nothing was sent"
