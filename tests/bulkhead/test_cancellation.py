"""The executor on an event loop that is moved one turn at a time: whoever is cancelled, whenever, leaves no ghost."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from riskscale import BulkheadExecutor, BulkheadFull, StateError


class ExecutorMachine(RuleBasedStateMachine):
    """Between two turns of the loop a place may have been given to one that does not know it yet, and is cancelled."""

    @initialize(concurrent=st.integers(1, 3), queued=st.integers(0, 4))
    def begin(self, concurrent: int, queued: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.concurrent, self.queued = concurrent, queued
        self.bulkhead = BulkheadExecutor(concurrent, queued)
        self.callers: list[asyncio.Task[int]] = []
        self.cancelled: set[int] = set()
        self.inside: dict[int, asyncio.Future[None]] = {}
        self.began: list[int] = []
        self.closing: list[asyncio.Task[None]] = []

    async def job(self, number: int) -> int:
        before = [self.callers.index(ticket.by) for ticket in self.bulkhead._gate.waiters()]
        assert all(number < other for other in before), "in order of arrival"
        self.began.append(number)
        self.inside[number] = self.loop.create_future()
        try:
            await self.inside[number]
        finally:
            del self.inside[number]
        return number

    @rule(turns=st.integers(1, 3))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def settle(self) -> None:
        self.turn(12)

    @rule(many=st.integers(1, 3))
    def submit(self, many: int) -> None:
        for _ in range(many):
            number = len(self.callers)
            self.callers.append(self.loop.create_task(self.bulkhead.submit(self.job, number)))

    @rule(at=st.integers(0, 50))
    def cancel(self, at: int) -> None:
        alive = [number for number, task in enumerate(self.callers) if not task.done()]
        if alive:
            number = alive[at % len(alive)]
            self.callers[number].cancel()
            self.cancelled.add(number)

    @rule(at=st.integers(0, 50), fails=st.booleans())
    def end(self, at: int, fails: bool) -> None:
        alive = [number for number, future in self.inside.items() if not future.done()]
        if alive:
            future = self.inside[alive[at % len(alive)]]
            if fails:
                future.set_exception(OSError("a failure of the job"))
            else:
                future.set_result(None)

    @rule(timeout=st.sampled_from([None, 0]), seldom=st.integers(0, 3))
    def close(self, timeout: float | None, seldom: int) -> None:
        if not seldom:
            self.closing.append(self.loop.create_task(self.bulkhead.close(timeout)))

    @invariant()
    def no_more_than_may(self) -> None:
        if hasattr(self, "bulkhead"):
            assert len(self.inside) <= self.bulkhead.running <= self.concurrent
            assert self.bulkhead.waiting <= self.queued

    def teardown(self) -> None:
        if not hasattr(self, "bulkhead"):
            return
        self.settle()
        alive = [task for task in self.callers if not task.done()]
        assert len(self.inside) == self.bulkhead.running, "whoever has a place is in it"
        assert len(alive) == self.bulkhead.running + self.bulkhead.waiting, "nobody is counted who is not there"
        while self.inside:
            self.end(0, False)
            self.settle()
        assert all(task.done() for task in (*self.callers, *self.closing))
        assert self.bulkhead.running == self.bulkhead.waiting == 0
        for number, task in enumerate(self.callers):
            self.check_outcome(number, task)
        self.loop.close()

    def check_outcome(self, number: int, task: asyncio.Task[int]) -> None:
        """A caller that nobody cancelled is never told that it was."""
        if task.cancelled():
            assert number in self.cancelled
            return
        match task.exception():
            case None:
                assert task.result() == number and number in self.began
            case BulkheadFull():
                assert number not in self.began
            case StateError():
                assert self.closing
            case error:
                assert isinstance(error, OSError), error


def test_whoever_is_cancelled_leaves_no_ghost() -> None:
    run_state_machine_as_test(ExecutorMachine)


def test_a_place_that_was_given_to_one_who_is_cancelled_goes_on() -> None:
    """The same, at the one point that matters: between being given the place and knowing it."""
    machine: Any = ExecutorMachine()
    machine.begin(1, 2)
    machine.submit(3)
    machine.settle()
    machine.end(0, False)
    while machine.bulkhead.waiting == 2:
        machine.turn(1)
    assert machine.began == [0], "it is given, and nobody knows"
    machine.callers[1].cancel()
    machine.cancelled.add(1)
    machine.settle()
    assert machine.began == [0, 2]
    machine.teardown()
