"""Each check passes a sound history and fails one that breaks it, by one microsecond."""

from __future__ import annotations

from dataclasses import replace

import pytest

from riskscale.cli.events import End, Event, Failed, History, Hit, Stall, Start, decode, encode
from riskscale.cli.invariants import Run, fences_rise, one_at_a_time, successor, taken_over, within_limit

WINDOW = 1_000_000
FIRST = Run(workflow="w", replica=1, fence=10, start_us=1000, ttl_us=500, end_us=1200)
SECOND = Run(workflow="w", replica=2, fence=11, start_us=1200, ttl_us=500, end_us=1300)
OTHER = Run(workflow="other", replica=1, fence=10, start_us=1000, ttl_us=500, end_us=1250)
KILLED = replace(FIRST, end_us=None)


def test_within_limit_counts_all_replicas_together() -> None:
    stamps = [0, 400_000, 999_999, 1_000_000, 1_400_000]
    assert within_limit({"tenant": stamps}, 3, WINDOW).ok
    assert within_limit({"tenant": stamps[::-1]}, 3, WINDOW).ok
    broken = within_limit({"tenant": [*stamps, 1_399_999], "quiet": [5]}, 3, WINDOW)
    assert not broken.ok
    assert broken.detail.startswith("4 of 3")


def test_a_window_is_open_at_its_old_end() -> None:
    assert within_limit({"tenant": [0, WINDOW]}, 1, WINDOW).ok
    assert not within_limit({"tenant": [0, WINDOW - 1]}, 1, WINDOW).ok


def test_keys_are_limited_apart() -> None:
    assert within_limit({"a": [0], "b": [0]}, 1, WINDOW).ok


def test_one_at_a_time() -> None:
    assert one_at_a_time([SECOND, OTHER, FIRST]).ok
    broken = one_at_a_time([FIRST, replace(SECOND, start_us=1199)])
    assert not broken.ok
    assert "replica 2 began 1 us before replica 1" in broken.detail


def test_a_killed_run_lasts_as_long_as_its_lease() -> None:
    assert one_at_a_time([KILLED, replace(SECOND, start_us=1500, end_us=1600)]).ok
    assert not one_at_a_time([KILLED, replace(SECOND, start_us=1499, end_us=1600)]).ok


def test_a_long_run_meets_a_later_one_too() -> None:
    inner = replace(SECOND, start_us=1100, end_us=1150)
    assert not one_at_a_time([FIRST, inner]).ok


def test_fences_rise() -> None:
    assert fences_rise([SECOND, FIRST, OTHER]).ok
    for fence in (10, 9):
        assert not fences_rise([FIRST, replace(SECOND, fence=fence)]).ok


def test_taken_over_in_time() -> None:
    heir = replace(SECOND, start_us=KILLED.over_us + 30)
    assert taken_over([KILLED, heir], KILLED, poll_us=20, stall_us=10).ok
    assert not taken_over([KILLED, heir], KILLED, poll_us=20, stall_us=9).ok
    early = replace(SECOND, start_us=KILLED.over_us - 1)
    assert not taken_over([KILLED, early], KILLED, poll_us=20, stall_us=10).ok


def test_nobody_takes_over() -> None:
    before = replace(SECOND, fence=9, start_us=500)
    assert successor([before, OTHER, KILLED], KILLED) is None
    assert not taken_over([before, OTHER, KILLED], KILLED, 20, 10).ok
    assert not taken_over([FIRST, SECOND], None, 20, 10).ok


def test_a_run_in_which_nothing_happened_proves_nothing() -> None:
    assert not any(check.ok for check in (within_limit({}, 3, WINDOW), one_at_a_time([]), fences_rise([])))


EVENTS: list[Event] = [
    Hit(1, "tenant", 5, True),
    Hit(1, "tenant", 6, False),
    Start(1, "w", 10, 1000, 500, False),
    End(1, "w", 10, 1200),
    Start(2, "w", 11, 1200, 500, True),
    Stall(2, 7),
    Stall(1, 3),
]


def test_history() -> None:
    history = History()
    for event in EVENTS:
        assert decode(encode(event)) == event
        history.add(event)
    assert history.admitted == {"tenant": [5]}
    assert (history.hits[1], history.allowed[1], history.stall_us) == (2, 1, 7)
    assert history.runs == [FIRST, replace(SECOND, end_us=None)]
    assert history.doomed == history.runs[1]
    assert history.running == {1: set(), 2: {"w"}}


def test_a_lost_lease_and_a_failure() -> None:
    history = History()
    for event in [EVENTS[2], End(1, "w", 10, None), Failed(1, "it broke"), Failed(2, "too")]:
        history.add(event)
    assert history.runs[0].end_us is None
    assert history.failure == "replica 1: it broke"


def test_two_leases_of_one_fence_are_both_kept() -> None:
    history = History()
    history.add(Start(1, "w", 10, 1000, 500, False))
    history.add(Start(2, "w", 10, 2000, 500, False))
    assert not fences_rise(history.runs).ok


@pytest.mark.parametrize("line", ['["Hit", 1]', '["Nothing"]'])
def test_what_is_no_event(line: str) -> None:
    with pytest.raises((KeyError, TypeError)):
        decode(line)
