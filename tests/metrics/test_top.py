"""The sketch against exact counts, and who has a place."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from riskscale.metrics.top import SpaceSaving, Top

STREAMS = st.lists(st.sampled_from("abcdefghijkl"), max_size=200)


@given(STREAMS, st.integers(1, 8))
def test_its_bounds(stream: list[str], size: int) -> None:
    sketch, exact = SpaceSaving(size), Counter[str]()
    for value in stream:
        sketch.add(value)
        exact[value] += 1
        tracked = set(sketch._counts)
        assert len(tracked) <= size
        for each in "abcdefghijkl":
            assert sketch.least(each) <= exact[each] <= sketch.most(each)
            assert each in tracked or exact[each] <= exact.total() / size
        assert all(sketch._errors[each] <= exact.total() / size for each in tracked)
        assert sum(sketch._counts.values()) == exact.total()
        assert sketch._lowest == min(sketch._counts.values())


@given(STREAMS, STREAMS, st.integers(1, 8))
def test_it_is_whole_after_a_halving(before: list[str], after: list[str], size: int) -> None:
    sketch = SpaceSaving(size)
    for value in before:
        sketch.add(value)
    counts = {value: count // 2 for value, count in sketch._counts.items() if count > 1}
    sketch.halve()
    assert sketch._counts == counts
    for value in after:
        sketch.add(value)
        assert sketch._lowest == min(sketch._counts.values()) and len(sketch._counts) <= size
        assert {value for bucket in sketch._buckets.values() for value in bucket} == set(sketch._counts)


def test_a_crowd_displaces_nobody() -> None:
    evicted: list[str] = []
    top = Top(3, evicted.append)
    assert [top.has(value) for value in "abc" * 2] == [True] * 6
    assert not any(top.has(f"visitor {number}") for number in range(5000))
    assert not evicted and all(top.has(value) for value in "abc")


def test_the_busiest_have_the_places() -> None:
    evicted: list[str] = []
    top, draw = Top(3, evicted.append), random.Random(7)
    stream = [f"early {number}" for number in range(3)]
    stream += draw.choices(
        ["x", "y", "z", *(f"rare {number}" for number in range(1000))], [100, 90, 80] + [1] * 1000, k=9000
    )
    named = {value for value in stream if top.has(value)}
    assert {"x", "y", "z"} == top._named and sorted(evicted)[:3] == ["early 0", "early 1", "early 2"]
    assert len(named) < 20, "and they do not change hands all the time"


def test_yesterdays_busiest_make_room() -> None:
    top = Top(1, lambda _: None)
    for _ in range(9 * Top.HALF_LIFE):
        top.has("yesterday")
    events = 0
    while not top.has("today"):
        events += 1
    assert events <= 2 * Top.HALF_LIFE
