"""Reservations keep the promise of their limit, in whatever order they are made, cancelled and settled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from riskscale.rate._model import interval
from riskscale.rate._reservation_model import Reservations
from riskscale.rate.limit import Limit
from tests.rate.reservation_machine import START, Charge, Promise, machine

PACED = Limit(1, per=1, algorithm="gcra", burst=1)
BURSTS = Limit(1, per=1, algorithm="gcra", burst=5)
SECOND = 1_000_000


def test_the_promise_holds_in_any_order() -> None:
    run_state_machine_as_test(machine(), settings=settings(max_examples=200, stateful_step_count=50))


@pytest.mark.parametrize("calm", [True, False], ids=["calm", "resets, new limits, a clock that goes back"])
def test_script_and_model_agree(raw_client: Any, prefix: str, calm: bool, examples: settings) -> None:
    fewer = settings(max_examples=max(15, examples.max_examples * 2 // 5))  # the promise is held to above
    run_state_machine_as_test(machine(client=raw_client, prefix=prefix, calm=calm), settings=fewer)


def test_a_breach_is_found() -> None:
    one, later = Charge(START, 1, 1), Charge(START + SECOND - 1, 1, 1)
    assert Promise(PACED).breach([one, one], None) == (START, START, 2)
    assert Promise(PACED).breach([later, one], None) == (START, later.start, 2)
    assert Promise(PACED).breach([one, replace(later, start=START + SECOND)], None) is None
    assert Promise(PACED).breach([one, replace(later, units=0)], None) is None


class Queue:
    """A key, and its reservations in the order in which they were made."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.model, self.now, self.starts = limit, Reservations(), START, list[int]()

    def reserve(self, cost: int = 1) -> float:
        """Seconds from the beginning until it starts."""
        booked = self.model.reserve(self.limit, f"r{len(self.starts)}", cost, 10**12, self.now)
        self.starts.append(booked.start_us)
        return (booked.start_us - START) / SECOND

    def settle(self, number: int, cost: int = 1, actual: int = 0) -> int:
        return self.model.settle(self.limit, f"r{number}", self.starts[number], cost, actual, self.now)[1]


def test_what_is_given_back_too_early_would_make_two_start_at_once() -> None:
    queue = Queue(PACED)
    assert [queue.reserve() for _ in range(4)] == [0, 1, 2, 3]
    assert queue.settle(1) == 0, "2 and 3 keep their starts"
    assert queue.reserve() == 4
    assert queue.settle(4) == 1 and queue.reserve() == 4, "nobody came after the last"


def test_a_burst_takes_back_what_came_before_others() -> None:
    """Where x/time/rate gives nothing back: the second starts a whole interval after it."""
    queue = Queue(BURSTS)
    assert [queue.reserve() for _ in range(7)] == [0, 0, 0, 0, 0, 1, 2]
    assert queue.settle(5) == 1 and queue.reserve() == 2


def test_in_a_queue_longer_than_the_burst_as_much_comes_back_as_the_burst_makes_up_for() -> None:
    queue = Queue(Limit(1, per=1, algorithm="gcra", burst=3))
    assert [queue.reserve() for _ in range(20)] == [0, 0, 0, *range(1, 18)]
    assert [queue.settle(number) for number in (3, 4, 5)] == [1, 1, 0], "those behind keep their starts"
    assert [queue.reserve() for _ in range(4)] == [17, 17, 18, 19], "three at once are a burst"


@given(order=st.permutations(range(1, 8)), burst=st.integers(1, 3))
def test_when_all_who_wait_give_up_nothing_is_left_of_them(order: list[int], burst: int) -> None:
    limit = Limit(1, per=1, algorithm="gcra", burst=burst)
    queue = Queue(limit)
    queue.reserve(burst)
    for _ in range(7):
        queue.reserve()
    for number in order:
        queue.settle(number)
    assert queue.model.gcra.tat == START + burst * interval(limit)


def test_an_estimate_that_was_too_high_comes_back_while_the_limit_is_busy() -> None:
    """The bucket drained more than the estimate meanwhile; it was never empty, so nobody had the use of it."""
    queue = Queue(Limit(10, per=1, algorithm="gcra", burst=100))
    queue.reserve(80)
    queue.reserve(20)
    queue.now += 5 * SECOND
    assert queue.settle(1, 20, 5) == 15
    idle = Queue(Limit(10, per=1, algorithm="gcra", burst=100))
    idle.reserve(20)
    idle.now += 5 * SECOND
    assert idle.settle(0, 20, 5) == 0, "its units came back by themselves"


def test_a_debt_delays_whoever_comes_next() -> None:
    queue = Queue(BURSTS)
    assert queue.reserve(5) == 0
    assert queue.settle(0, 5, 8) == -3
    assert queue.reserve() == 4
    assert queue.settle(0, 5, 8) == 0, "once"
