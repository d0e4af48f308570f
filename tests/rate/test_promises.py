"""The promises of docs/limits.md, in virtual time and of the models; the scripts decide as these do: test_model.

There too: a refusal and a peek leave the state as it was, byte for byte, and ``retry_after`` is exact.
"""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale.rate._model import MODELS, RateModel, hit, interval
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit
from tests.rate.promises import Admitted, is_kept, most_from_a_first, most_in_any_window

START, WINDOW_US = 10**15, 600
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
gaps = st.integers(0, 3) | st.integers(0, 300) | st.sampled_from([WINDOW_US - 1, WINDOW_US])
costs = st.integers(1, 5)


def limits(algorithm: Algorithm) -> st.SearchStrategy[Limit]:
    """All of one window."""
    bursts = st.none() | st.integers(1, 9) if algorithm == "gcra" else st.none()
    return st.tuples(st.integers(1, 12), bursts).map(
        lambda words: Limit(words[0], per=WINDOW_US / 1e6, algorithm=algorithm, burst=words[1])
    )


def admits(state: RateModel, limit: Limit, cost: int, now: int) -> bool:
    return hit([state], [limit], cost, now)[0].retry_us == 0


@every_algorithm
@given(data=st.data(), steps=st.lists(st.tuples(gaps, costs, st.integers(0, 9)), min_size=20, max_size=100))
def test_never_more_in_any_window_whatever_is_given_back(
    algorithm: Algorithm, data: st.DataObject, steps: list[tuple[int, int, int]]
) -> None:
    """What was given back does not count; of gcra, where a unit came back in part, all of it does not."""
    limit = data.draw(limits(algorithm))
    state, now = MODELS[algorithm](), START
    admitted: Admitted = []
    for gap, cost, seldom in steps:
        now += gap
        if admits(state, limit, cost, now):
            admitted.append((now, cost))
        if not seldom and admitted:
            at, charged = admitted.pop(data.draw(st.integers(0, len(admitted) - 1)))
            back = state.refund(limit, charged, at, now)
            left = charged - back if algorithm != "gcra" or not back else 0
            if left:
                bisect.insort(admitted, (at, left))
    assert is_kept(limit, admitted)


@pytest.mark.parametrize("algorithm", ["sliding_log", "sliding_window"])
def test_what_is_given_back_is_the_older_unit_not_the_newer(algorithm: Algorithm) -> None:
    limit, state = Limit(2, per=WINDOW_US / 1e6, algorithm=algorithm), MODELS[algorithm]()
    assert admits(state, limit, 1, START) and admits(state, limit, 1, START + 300)
    assert state.refund(limit, 1, START, START + 300) == 1 and admits(state, limit, 1, START + 301)
    assert not admits(state, limit, 1, START + WINDOW_US + 20)


@given(data=st.data(), steps=st.lists(st.tuples(gaps, costs), max_size=100))
def test_a_fixed_window_counts_from_its_first_hit(data: st.DataObject, steps: list[tuple[int, int]]) -> None:
    limit = data.draw(limits("fixed_window"))
    state, now = MODELS["fixed_window"](), START
    admitted: Admitted = []
    for gap, cost in steps:
        now += gap
        if admits(state, limit, cost, now):
            admitted.append((now, cost))
    assert most_from_a_first(admitted, WINDOW_US) <= limit.count


@every_algorithm
@given(
    data=st.data(),
    steps=st.lists(st.tuples(gaps, st.just(0) | st.integers(0, 2 * WINDOW_US), costs), max_size=100),
)
def test_a_clock_that_goes_back_overfills_nothing(
    algorithm: Algorithm, data: st.DataObject, steps: list[tuple[int, int, int]]
) -> None:
    """By the time that really passed, which is what the users of a limit feel."""
    limit = data.draw(limits(algorithm))
    state, true, behind = MODELS[algorithm](), START, 0
    admitted: Admitted = []
    for gap, step_back, cost in steps:
        true, behind = true + gap, behind + step_back
        if admits(state, limit, cost, true - behind):
            admitted.append((true, cost))
    assert is_kept(limit, admitted)


@every_algorithm
@given(data=st.data(), steps=st.lists(st.tuples(gaps, costs), max_size=60))
def test_a_changed_limit_keeps_its_state(
    algorithm: Algorithm, data: st.DataObject, steps: list[tuple[int, int]]
) -> None:
    """What was admitted under other limits counts under the new one; of gcra, as the time that it took to refill."""
    state, now = MODELS[algorithm](), START
    admitted: Admitted = []
    most = most_full = 0
    for gap, cost in steps:
        now, limit = now + gap, data.draw(limits(algorithm))
        units = interval(limit) if algorithm == "gcra" else 1
        if admits(state, limit, cost, now):
            admitted.append((now, cost * units))
            most, most_full = max(most, limit.count), max(most_full, limit.capacity * units)
            if algorithm in ("sliding_log", "sliding_window"):
                assert most_in_any_window(admitted, WINDOW_US) <= most
                assert sum(units for at, units in admitted if at > now - WINDOW_US) <= limit.count
    if algorithm == "fixed_window":
        assert most_from_a_first(admitted, WINDOW_US) <= most
    if algorithm == "gcra":
        for span in (1, WINDOW_US // 3, WINDOW_US):
            assert most_in_any_window(admitted, span) <= most_full + span


@every_algorithm
@given(
    data=st.data(), before=st.lists(st.tuples(gaps, costs), max_size=20), cost=costs, later=st.integers(0, WINDOW_US)
)
def test_what_came_back_can_be_had_at_once(
    algorithm: Algorithm, data: st.DataObject, before: list[tuple[int, int]], cost: int, later: int
) -> None:
    """And no more than that: the request that was given back leaves what there was before it."""
    limit = data.draw(limits(algorithm))
    state, now = MODELS[algorithm](), START
    for gap, other in before:
        now += gap
        admits(state, limit, other, now)
    at, left = now, state.view(limit, now)[0]
    if not admits(state, limit, cost, at):
        return
    now = at + later
    back = state.refund(limit, cost, at, now)
    if later == 0:
        assert back == cost and state.view(limit, now)[0] == left
    whole = back - 1 if algorithm == "gcra" and later else back  # the last one came back in part
    assert not whole or admits(state, limit, whole, now)
