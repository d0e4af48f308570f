"""The scripts decide as the model does, whatever happens in what order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from riskscale import BreakerPolicy, BreakerState
from riskscale.breaker._model import Item, Known, Step
from riskscale.breaker.state import Counts
from riskscale.breaker.window import CountWindow, TimeWindow
from tests.breaker.machine import SECOND, BreakerMachine


@pytest.fixture
def heard(raw_client: Any, prefix: str) -> Iterator[Any]:
    pubsub = raw_client.pubsub()
    pubsub.subscribe(f"{prefix}rs1:breakers")
    while (pubsub.get_message(timeout=5) or {}).get("type") != "subscribe":
        pass
    yield pubsub
    pubsub.close()


def test_script_and_model_agree(raw_client: Any, prefix: str, heard: Any, examples: settings) -> None:
    machine = type("Machine", (BreakerMachine,), {"client": raw_client, "prefix": prefix, "heard": heard})
    fewer = settings(max_examples=max(15, examples.max_examples // 3))  # each looks at everything after every step
    run_state_machine_as_test(machine, settings=fewer)


@pytest.fixture
def pair(raw_client: Any, prefix: str, heard: Any) -> BreakerMachine:
    """Script and model, for those corners where chance seldom leads."""
    machine = type("Machine", (BreakerMachine,), {"client": raw_client, "prefix": prefix, "heard": heard})()
    machine.begin([RULES])
    return machine


RULES = BreakerPolicy(
    consecutive_failures=3, failure_rate=0.5, minimum_calls=4, window_seconds=10, open_seconds=10, probe_seconds=5
).rules
QUORUM = RULES._replace(quorum=2)


def known(pair: BreakerMachine) -> Known:
    model = pair.model
    return Known(model.generation, model.state, model.remaining_us(pair.now))


def half_open(pair: BreakerMachine) -> None:
    pair.reports(Step(RULES, pair.now, "a"), 1, Known())
    pair.reports(Step(RULES, pair.now, "a"), 2, known(pair), run=3, votes=True)
    assert pair.model.state is BreakerState.OPEN
    pair.now += 10 * SECOND
    assert pair.asks(Step(RULES, pair.now, "a"), known(pair), "one") == 1


def test_a_permit_from_a_time_that_the_clock_took_back(pair: BreakerMachine) -> None:
    half_open(pair)
    pair.now -= 60 * SECOND
    assert pair.asks(Step(RULES, pair.now, "b"), known(pair), "two") == 1
    pair.read_shows_the_model()


def test_an_opening_is_not_longer_when_the_clock_goes_back(pair: BreakerMachine) -> None:
    pair.reports(Step(RULES, pair.now, "a"), 1, Known())
    pair.reports(Step(RULES, pair.now, "a"), 2, known(pair), run=3, votes=True)
    pair.now -= 60 * SECOND
    assert known(pair).remaining_us == 10 * SECOND
    pair.read_shows_the_model()
    pair.reports(Step(RULES, pair.now, "a"), 3, known(pair))
    pair.now += 10 * SECOND
    assert pair.asks(Step(RULES, pair.now, "a"), known(pair), "one") == 1


def test_a_slice_from_a_time_that_the_clock_took_back(pair: BreakerMachine) -> None:
    pair.reports(Step(RULES, pair.now, "a"), 1, Known())
    pair.reports(Step(RULES, pair.now, "a"), 2, known(pair), items=[Item(0, Counts(3, 3, 0))])
    pair.now -= 60 * SECOND
    pair.read_shows_the_model()
    pair.reports(Step(RULES, pair.now, "a"), 3, known(pair), items=[Item(0, Counts(1, 1, 0))])
    assert pair.model.state is BreakerState.CLOSED
    pair.now += 60 * SECOND
    pair.read_shows_the_model()


@pytest.mark.parametrize(("later", "opens"), [(0, True), (10 * SECOND, False)])
def test_a_vote_counts_for_as_long_as_the_window(pair: BreakerMachine, later: int, opens: bool) -> None:
    pair.reports(Step(QUORUM, pair.now, "a"), 1, Known())
    pair.reports(Step(QUORUM, pair.now, "a"), 2, known(pair), run=3, votes=True)
    pair.now += later
    pair.reports(Step(QUORUM, pair.now, "b"), 1, known(pair), run=3, votes=True)
    assert (pair.model.state is BreakerState.OPEN) == opens


def test_a_vote_of_an_older_generation_does_not_count(pair: BreakerMachine) -> None:
    pair.reports(Step(QUORUM, pair.now, "a"), 1, Known())
    pair.reports(Step(QUORUM, pair.now, "a"), 2, known(pair), run=3, votes=True)
    pair.force(BreakerState.CLOSED, 0)
    pair.reports(Step(QUORUM, pair.now, "b"), 1, known(pair), run=3, votes=True)
    assert pair.model.state is BreakerState.CLOSED
    pair.reports(Step(QUORUM, pair.now, "a"), 3, known(pair), run=3, votes=True)
    assert pair.model.state is BreakerState.OPEN


def test_a_probe_of_a_round_that_was_lost_and_restored(pair: BreakerMachine) -> None:
    half_open(pair)
    present = known(pair)
    pair.keys_are_lost("breaker", 0)
    pair.reports(Step(RULES, pair.now, "a"), 3, present, probe=("one", 0))
    assert pair.model.state is BreakerState.HALF_OPEN and pair.model.trial.calls == 0
    assert pair.asks(Step(RULES, pair.now, "b"), known(pair), "two") == 1


def test_a_late_probe_counts_until_somebody_else_has_its_permit(pair: BreakerMachine) -> None:
    half_open(pair)
    pair.now += 6 * SECOND
    assert pair.asks(Step(RULES, pair.now, "b"), known(pair), "two") == 1
    pair.reports(Step(RULES, pair.now, "a"), 3, known(pair), probe=("one", 0))
    assert pair.model.state is BreakerState.HALF_OPEN, "it has it"
    pair.now += 6 * SECOND
    pair.reports(Step(RULES, pair.now, "b"), 1, known(pair), probe=("two", 0))
    assert pair.model.state is BreakerState.CLOSED, "nobody wanted it"


STEPS = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 3)), max_size=80)


@given(steps=STEPS, size=st.integers(1, 12))
def test_a_window_by_count_is_exact(steps: list[tuple[int, int]], size: int) -> None:
    window, kinds = CountWindow(size), []
    for _, kind in steps:
        window.add(kind, 0)
        kinds = [*kinds, kind][-size:]
        assert window.counts(0) == (len(kinds), sum(k & 1 for k in kinds), sum(k >> 1 for k in kinds))
        assert window.calls == len(kinds)


@given(steps=STEPS)
def test_a_window_by_time_counts_nine_to_ten_tenths(steps: list[tuple[int, int]]) -> None:
    window, now, past = TimeWindow(1000), 10**9, []
    for gap, kind in steps:
        now += gap
        window.add(kind, now)
        past.append((now, kind))
        live = [k for at, k in past if at - at % 100 > now - 1000]
        assert window.counts(now) == Counts(len(live), sum(k & 1 for k in live), sum(k >> 1 for k in live))
        assert {at for at, _ in past if at > now - 900} <= {at for at, _ in past if at - at % 100 > now - 1000}


def test_who_read_the_clock_earlier_and_comes_later_takes_nothing_away() -> None:
    window = TimeWindow(1_000_000)
    for _ in range(50):
        window.add(1, 10_100_001)
    window.add(1, 10_099_999)
    assert window.counts(10_050_000) == window.counts(10_100_002) == (51, 51, 0)
    window.clear()
    window.add(1, 10_000_000)
    assert window.counts(10_100_002) == (1, 1, 0)


def test_a_vote_from_a_time_that_the_clock_took_back(pair: BreakerMachine) -> None:
    pair.reports(Step(QUORUM, pair.now, "a"), 1, Known())
    pair.reports(Step(QUORUM, pair.now, "a"), 2, known(pair), run=3, votes=True)
    pair.now -= 60 * SECOND
    pair.read_shows_the_model()
    pair.reports(Step(QUORUM, pair.now, "b"), 1, known(pair), run=3, votes=True)
    assert pair.model.state is BreakerState.CLOSED, "nobody knows when it was cast"
    pair.reports(Step(QUORUM, pair.now, "a"), 3, known(pair), run=3, votes=True)
    assert pair.model.state is BreakerState.OPEN


@pytest.mark.parametrize("limit_us", [0, 20 * SECOND])
def test_a_restored_half_open_state_with_no_time_left_is_over(pair: BreakerMachine, limit_us: int) -> None:
    step = Step(RULES._replace(half_open_us=limit_us), pair.now, "a")
    pair.reports(step, 1, Known(7, BreakerState.HALF_OPEN, 0))
    pair.read_shows_the_model()
    assert pair.model.state is (BreakerState.OPEN if limit_us else BreakerState.HALF_OPEN)
    assert pair.model.reason == ("half_open_timeout" if limit_us else "restored")
