"""Bulkheads of one process as their users meet them, in tasks and in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import riskscale.sync
from riskscale import (
    AcquireTimeout,
    AdaptiveLimit,
    ArgumentError,
    BulkheadExecutor,
    BulkheadFull,
    InMemoryMetrics,
    StateError,
)


class Jobs:
    """Jobs that last until they are told to end."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def run(self, name: str) -> str:
        self.began.append(name)
        await self._ends.setdefault(name, asyncio.Event()).wait()
        return name

    def end(self, *names: str) -> None:
        for name in names:
            self._ends.setdefault(name, asyncio.Event()).set()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_results_arguments_and_errors_pass() -> None:
    bulkhead = BulkheadExecutor(1, 0)

    async def add(one: int, *, two: int) -> int:
        return one + two

    assert await bulkhead.submit(add, 1, two=2) == 3
    assert await bulkhead.submit(max, 1, 2) == 2, "a plain function"
    with pytest.raises(ZeroDivisionError):
        await bulkhead.submit(lambda: 1 // 0)
    with pytest.raises(TypeError):
        await bulkhead.submit(add, 1)
    assert bulkhead.running == 0


async def test_an_outer_timeout_is_the_callers_own() -> None:
    bulkhead, jobs = BulkheadExecutor(1, 1), Jobs()
    running = asyncio.create_task(bulkhead.submit(jobs.run, "a"))
    await until(lambda: bulkhead.running == 1)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.01):
            await bulkhead.submit(jobs.run, "b")
    assert not isinstance(caught.value, AcquireTimeout) and bulkhead.waiting == 0
    jobs.end("a")
    assert await running == "a" and jobs.began == ["a"]


async def test_who_waited_too_long_is_told_so() -> None:
    bulkhead, jobs = BulkheadExecutor(1, 1, name="db", wait=0.01), Jobs()
    running = asyncio.create_task(bulkhead.submit(jobs.run, "a"))
    await until(lambda: bulkhead.running == 1)
    with pytest.raises(AcquireTimeout, match=r"bulkhead 'db' did not come free within 0\.01 s"):
        await bulkhead.submit(jobs.run, "b")
    jobs.end("a")
    await running
    assert bulkhead.waiting == 0 and jobs.began == ["a"]

    async def slow() -> None:
        raise TimeoutError("the task's own")

    with pytest.raises(TimeoutError, match="own"):
        await bulkhead.submit(slow)


async def test_a_tenant_neither_fills_the_queue_nor_holds_up_others() -> None:
    bulkhead, jobs = BulkheadExecutor(2, 4, tenant_concurrent=1, tenant_queued=2), Jobs()
    hog = [asyncio.create_task(bulkhead.submit_for("hog", jobs.run, f"hog {number}")) for number in range(4)]
    await until(hog[3].done)
    with pytest.raises(BulkheadFull, match="Bulkhead: tenant 'hog' has its share"):
        await hog[3]
    others = [asyncio.create_task(bulkhead.submit_for(name, jobs.run, name)) for name in ("b", "c", "d")]
    await until(lambda: bulkhead.waiting == 4)
    assert jobs.began == ["hog 0", "b"], "one of each runs"
    with pytest.raises(BulkheadFull, match="Bulkhead: max concurrent and queue full"):
        await bulkhead.submit_for("e", jobs.run, "e")
    jobs.end("hog 0", "b")
    await until(lambda: len(jobs.began) == 4)
    assert jobs.began[2:] == ["hog 1", "c"], "in turn"
    jobs.end("hog 1", "hog 2", "c", "d")
    await asyncio.gather(*hog[:3], *others)


async def test_close_drains() -> None:
    bulkhead, jobs = BulkheadExecutor(1, 1), Jobs()
    callers = [asyncio.create_task(bulkhead.submit(jobs.run, name)) for name in "ab"]
    await until(lambda: bulkhead.waiting == 1)
    closing = asyncio.create_task(bulkhead.close())
    await until(lambda: bulkhead._closed)
    with pytest.raises(StateError, match="bulkhead 'default' is closed"):
        await bulkhead.submit(jobs.run, "c")
    jobs.end("a")
    await until(lambda: jobs.began == ["a", "b"])
    assert not closing.done()
    jobs.end("b")
    await closing
    assert [caller.result() for caller in callers] == ["a", "b"]
    await bulkhead.close()


async def test_close_cuts_short_what_is_left() -> None:
    bulkhead, jobs = BulkheadExecutor(2, 1), Jobs()

    async def stubborn() -> str:
        try:
            await jobs.run("stubborn")
        except asyncio.CancelledError:
            return "done all the same"
        return ""

    async def caller(name: str) -> int:
        with pytest.raises(StateError, match="closed"):
            await bulkhead.submit(jobs.run, name)
        current = asyncio.current_task()
        assert current is not None
        return current.cancelling()

    running = asyncio.create_task(caller("a"))
    other = asyncio.create_task(bulkhead.submit(stubborn))
    await until(lambda: len(jobs.began) == 2)
    waiting = asyncio.create_task(caller("b"))
    await until(lambda: bulkhead.waiting == 1)
    await asyncio.gather(bulkhead.close(0), bulkhead.close(0))
    assert await running == await waiting == 0, "its caller was not cancelled"
    assert await other == "done all the same" and other.cancelling() == 0
    assert jobs.began == ["a", "stubborn"] and bulkhead.running == bulkhead.waiting == 0


async def test_a_caller_that_is_cancelled_while_it_is_cut_stays_cancelled() -> None:
    bulkhead, jobs = BulkheadExecutor(1, 0), Jobs()
    caller = asyncio.create_task(bulkhead.submit(jobs.run, "a"))
    await until(lambda: bulkhead.running == 1)
    closing = asyncio.create_task(bulkhead.close(0))
    await until(lambda: caller.cancelling() == 1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await closing


async def test_what_runs_in_it_cannot_close_it() -> None:
    async with BulkheadExecutor(1, 0) as bulkhead:
        with pytest.raises(StateError, match="wait for itself"):
            await bulkhead.submit(bulkhead.close)
        assert await bulkhead.submit(max, 1, 2) == 2


def test_it_follows_its_user_into_another_loop_but_not_while_it_is_used() -> None:
    bulkhead, jobs = BulkheadExecutor(1, 0), Jobs()
    assert asyncio.run(bulkhead.submit(max, 1, 2)) == asyncio.run(bulkhead.submit(max, 1, 2)) == 2
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def begin() -> asyncio.Task[str]:
        task = asyncio.create_task(bulkhead.submit(jobs.run, "a"))
        await until(lambda: bulkhead.running == 1)
        return task

    task = one.run_until_complete(begin())
    with pytest.raises(StateError, match="another event loop"):
        two.run_until_complete(bulkhead.submit(max, 1, 2))
    jobs.end("a")
    one.run_until_complete(task)
    assert two.run_until_complete(bulkhead.submit(max, 1, 2)) == 2
    one.close()
    two.close()


def depth(metrics: InMemoryMetrics) -> list[float | None]:
    return [metrics.last(f"bulkhead_{name}", bulkhead="db") for name in ("running", "waiting", "limit")]


async def test_its_depth_is_told() -> None:
    metrics, jobs = InMemoryMetrics(), Jobs()
    bulkhead = BulkheadExecutor(1, 1, name="db", metrics=metrics)
    callers = [asyncio.create_task(bulkhead.submit(jobs.run, name)) for name in "ab"]
    await until(lambda: bulkhead.waiting == 1)
    status = bulkhead.status()
    assert (status.name, status.running, status.waiting, status.max_concurrent, status.max_queued) == ("db", 1, 1, 1, 1)
    assert depth(metrics) == [1, 1, 1]
    with pytest.raises(BulkheadFull):
        await bulkhead.submit(jobs.run, "c")
    jobs.end("a", "b")
    await asyncio.gather(*callers)
    assert depth(metrics) == [0, 0, 1]
    assert metrics.total("bulkhead_rejected", bulkhead="db") == 1
    assert len(metrics.observed("bulkhead_wait_seconds", bulkhead="db")) == 1
    assert repr(bulkhead) == "<riskscale.bulkhead.executor.BulkheadExecutor 'db' 0+0 of 1+1>"


@pytest.mark.parametrize(("error", "is_sample"), [(None, True), (TimeoutError(), True), (OSError(), False)])
async def test_what_tells_how_long_calls_take(error: Exception | None, is_sample: bool) -> None:
    adaptive = AdaptiveLimit(2, 2, 10)
    bulkhead = BulkheadExecutor(adaptive, 0)
    ticks = iter(range(100))
    bulkhead._monotonic = lambda: float(next(ticks))

    async def call() -> None:
        if error is not None:
            raise error

    await asyncio.gather(bulkhead.submit(call), return_exceptions=True)
    assert adaptive._long == (1.0 if is_sample else 0.0)


async def test_the_limit_follows_the_calls() -> None:
    adaptive, jobs = AdaptiveLimit(2, 2, 10, queue_size=1, smoothing=1), Jobs()
    bulkhead = BulkheadExecutor(adaptive, 10)
    bulkhead._monotonic = lambda: 0.0
    callers = [asyncio.create_task(bulkhead.submit(jobs.run, name)) for name in "abcd"]
    await until(lambda: len(jobs.began) == 2)
    jobs.end("a")
    await until(lambda: len(jobs.began) == 4)
    assert bulkhead.status().max_concurrent == 3, "one more may run, and both are called at once"
    jobs.end("b", "c", "d")
    await asyncio.gather(*callers)


class Threads:
    """Callers in threads, whose jobs last until they are told to end."""

    def __init__(self, bulkhead: riskscale.sync.BulkheadExecutor) -> None:
        self.bulkhead = bulkhead
        self.began: list[str] = []
        self.results: dict[str, Any] = {}
        self._ends: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def run(self, name: str) -> str:
        with self._changed:
            self.began.append(name)
            self._changed.notify_all()
        assert self._ends[name].wait(60)
        return name

    def submit(self, name: str, tenant: str = "") -> None:
        """Returns when it runs, waits or was refused."""
        self._ends[name] = threading.Event()
        before = self.bulkhead.running + self.bulkhead.waiting
        thread = threading.Thread(target=self._call, args=(name, tenant))
        self._threads.append(thread)
        thread.start()
        self.until(lambda: self.bulkhead.running + self.bulkhead.waiting > before or name in self.results)

    def _call(self, name: str, tenant: str) -> None:
        try:
            submit = self.bulkhead.submit
            done = self.bulkhead.submit_for(tenant, self.run, name) if tenant else submit(self.run, name)
        except Exception as error:
            done = error
        with self._changed:
            self.results[name] = done
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            while not condition():
                self._changed.wait(0.001)

    def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)


def test_in_threads() -> None:
    bulkhead = riskscale.sync.BulkheadExecutor(2, 2)
    threads = Threads(bulkhead)
    for name in "abcde":
        threads.submit(name)
    assert threads.began == ["a", "b"] and bulkhead.waiting == 2
    assert isinstance(threads.results["e"], BulkheadFull)
    threads.end("b")
    threads.until(lambda: threads.began == ["a", "b", "c"])
    threads.end("c")
    threads.until(lambda: threads.began == ["a", "b", "c", "d"])
    threads.end("a", "d")
    threads.join()
    assert [threads.results[name] for name in "abcd"] == list("abcd")
    assert bulkhead.running == bulkhead.waiting == 0
    with pytest.raises(ZeroDivisionError):
        bulkhead.submit(lambda: 1 // 0)
    assert bulkhead.submit(int, "11", base=2) == 3


def test_tenants_in_threads() -> None:
    bulkhead = riskscale.sync.BulkheadExecutor(1, 4, tenant_queued=2)
    threads = Threads(bulkhead)
    for name, tenant in [("a0", "a"), ("a1", "a"), ("a2", "a"), ("a3", "a"), ("b0", "b")]:
        threads.submit(name, tenant)
    assert isinstance(threads.results["a3"], BulkheadFull)
    for at, name in enumerate(["a0", "a1", "b0", "a2"], 1):
        threads.end(name)
        threads.until(lambda at=at: len(threads.began) == min(at + 1, 4))  # type: ignore[misc]
    threads.join()
    assert threads.began == ["a0", "a1", "b0", "a2"]


def test_a_crowd_of_threads_never_exceeds_the_limit() -> None:
    bulkhead, mutex = riskscale.sync.BulkheadExecutor(3, 100), threading.Lock()
    now, most, done = 0, 0, 0

    def work() -> None:
        nonlocal now, most, done
        with mutex:
            now, most = now + 1, max(most, now + 1)
        with mutex:
            now, done = now - 1, done + 1

    def calls() -> None:
        for _ in range(200):
            bulkhead.submit(work)

    crowd = [threading.Thread(target=calls) for _ in range(20)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    assert most <= 3 and done == 4000 and bulkhead.running == bulkhead.waiting == 0


def test_threads_that_waited_too_long_and_threads_that_close() -> None:
    bulkhead = riskscale.sync.BulkheadExecutor(1, 2, name="db", wait=0.01)
    threads = Threads(bulkhead)
    threads.submit("a")
    with pytest.raises(AcquireTimeout, match="bulkhead 'db'"):
        bulkhead.submit(threads.run, "b")
    assert bulkhead.waiting == 0
    threads.end("a")
    threads.join()
    with pytest.raises(StateError, match="wait for itself"):
        bulkhead.submit(bulkhead.close)

    bulkhead = riskscale.sync.BulkheadExecutor(1, 2)
    threads = Threads(bulkhead)
    threads.submit("a")
    threads.submit("b")
    bulkhead.close(0)
    threads.until(lambda: "b" in threads.results)
    assert isinstance(threads.results["b"], StateError) and bulkhead.running == 1, "a thread cannot be cancelled"
    with pytest.raises(StateError, match="closed"):
        bulkhead.submit(threads.run, "c")
    threads.end("a")
    bulkhead.close()
    threads.join()
    assert threads.results["a"] == "a"


@pytest.mark.parametrize("module", [riskscale, riskscale.sync])
@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("max_concurrent", {"max_concurrent": 0}),
        ("max_concurrent", {"max_concurrent": -1}),
        ("max_concurrent", {"max_concurrent": True}),
        ("max_concurrent", {"max_concurrent": 2.0}),
        ("max_queued", {"max_queued": -1}),
        ("max_queued", {"max_queued": None}),
        ("name", {"name": ""}),
        ("wait", {"wait": -1}),
        ("tenant_concurrent", {"tenant_concurrent": 0}),
        ("tenant_queued", {"tenant_queued": -1}),
        ("tenant_queued", {"tenant_queued": 6}),
    ],
)
def test_bad_arguments(module: Any, argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        module.BulkheadExecutor(**{"max_concurrent": 1, "max_queued": 5, **given})
    assert caught.value.argument == argument


async def test_what_cannot_be_called() -> None:
    bulkhead = BulkheadExecutor(1, 0)
    coroutine = asyncio.sleep(0)
    for call in (bulkhead.submit(coroutine), bulkhead.submit(None), bulkhead.submit_for("a", 7)):  # type: ignore[call-overload]
        with pytest.raises(ArgumentError, match="task must be a function"):
            await call
    await coroutine
    for tenant in ("", None):
        with pytest.raises(ArgumentError, match="tenant"):
            await bulkhead.submit_for(tenant, max, 1, 2)  # type: ignore[call-overload]
    with pytest.raises(ArgumentError, match="timeout"):
        await bulkhead.close(-1)
    assert await bulkhead.submit(max, 1, 2) == 2, "that did not close it"
