"""What one leader leaves to the next, and how a turn is decided: pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import AutoScalingPolicy, MetricsSnapshot, ScalingAction, ScalingHistory, TargetTrackingPolicy
from riskscale.fleet.snapshot import FleetMember, FleetSnapshot
from riskscale.fleet.turns import Memory, Turn, decide
from riskscale.scaling.rules import DOWN, UP, Behavior, Change, Pods, Recommendation

NOW = 1_750_000_000.123457
TIMES = st.integers(0, 2**52).map(lambda us: us / 1e6)
MEMORIES = st.builds(
    Memory,
    st.none() | TIMES,
    st.none() | TIMES,
    st.builds(
        ScalingHistory,
        st.lists(st.builds(Recommendation, TIMES, st.integers(0, 10**6))).map(tuple),
        st.lists(st.builds(Change, TIMES, st.integers(-(10**6), 10**6))).map(tuple),
    ),
)
HIGH, LOW = MetricsSnapshot(99, 1000, 1.0, 1000, 3), MetricsSnapshot(1, 1, 0.0, 0, 3)


@given(MEMORIES)
def test_it_is_stored_and_found_as_it_is(memory: Memory) -> None:
    assert Memory.of(memory.text()) == memory
    assert memory.until(2**52) == memory


@pytest.mark.parametrize(
    "stored",
    ["", "x", "[]", "{}", '{"at":"x","changed":null,"recommendations":[],"changes":[]}', "1", "null", '"\\u0000"',
     '{"at":1,"changed":null,"recommendations":[[1]],"changes":[]}', '{"at":1,"recommendations":[],"changes":[]}',
     '{"at":1,"changed":null,"recommendations":[[1,1e999]],"changes":[]}'],
)  # fmt: skip
def test_nonsense_is_forgotten_and_told(stored: str, caplog: Any) -> None:
    assert Memory.of(stored) == Memory() and "makes no sense" in caplog.text


def test_more_than_this_release_knows_does_no_harm() -> None:
    assert Memory.of('{"at":5.5,"changed":null,"recommendations":[],"changes":[],"more":[1]}') == Memory(5.5)


@given(MEMORIES, TIMES, st.floats(0.001, 3600))
def test_a_turn_waits_an_interval_at_the_most_whatever_the_clock_did(
    memory: Memory, now: float, interval: float
) -> None:
    turn = Turn(now, memory.until(now))
    assert 0.0 <= turn.wait(interval) <= interval * (1 + 1e-6)
    assert turn.wait(interval) == 0.0 or (turn.memory.at is not None and now < turn.memory.at + interval)
    assert all(each.at <= now for each in (*turn.memory.history.recommendations, *turn.memory.history.changes))


def test_a_cooldown_withholds_the_next_change_and_not_a_later_one() -> None:
    policy, memory = AutoScalingPolicy(), Memory()
    order, memory = decide(policy, HIGH, Turn(NOW, memory), 60.0, 7)
    assert (order.action, order.at, order.fence, order.snapshot) == (ScalingAction.SCALE_UP, NOW, 7, HIGH)
    assert (memory.at, memory.changed) == (NOW, NOW)
    for snapshot in (HIGH, LOW):
        order, later = decide(policy, snapshot, Turn(NOW + 59.9, memory), 60.0, 8)
        assert (order.action, order.limited_by) == (ScalingAction.NO_ACTION, "cooldown")
        assert "59.9 s ago" in order.reason and (later.at, later.changed) == (NOW + 59.9, NOW)
    order, memory = decide(policy, LOW, Turn(NOW + 60, later), 60.0, 8)
    assert order.action is ScalingAction.SCALE_DOWN and memory.changed == NOW + 60
    assert decide(policy, HIGH, Turn(NOW + 61, memory), 0.0, 8)[0].action is ScalingAction.SCALE_UP


def test_the_history_of_one_leader_binds_the_next() -> None:
    """Rate of change and stabilisation are of the fleet, not of whoever leads."""
    policy = TargetTrackingPolicy(
        targets={"cpu_usage_pct": 50}, up=Behavior(policies=(Pods(2, 60),)), down=DOWN, max_replicas=100
    )
    order, memory = decide(policy, replace(HIGH, queue_depth=None), Turn(NOW, Memory()), 0.0, 1)
    assert (order.replicas, order.raw, order.limited_by) == (5, 6, "scale-up policy")
    memory = Memory.of(memory.text())  # as another leader finds it
    at_five = MetricsSnapshot(cpu_usage_pct=90, current_replicas=5)
    order, memory = decide(policy, at_five, Turn(NOW + 30, memory), 0.0, 2)
    assert (order.action, order.limited_by) == (ScalingAction.NO_ACTION, "scale-up policy")
    order, memory = decide(policy, at_five, Turn(NOW + 61, memory), 0.0, 2)
    assert order.replicas == 7
    calm = MetricsSnapshot(cpu_usage_pct=10, current_replicas=7)
    order, _ = decide(policy, calm, Turn(NOW + 120, Memory.of(memory.text())), 0.0, 3)
    assert (order.replicas, order.limited_by) == (7, "stabilization"), "9 were recommended a minute ago"
    forgotten, _ = decide(policy, calm, Turn(NOW + 120, Memory()), 0.0, 3)
    assert (forgotten.replicas, forgotten.raw) == (7, 2), "who knows nothing begins with what there is"
    late, _ = decide(policy, calm, Turn(NOW + 10_000, memory), 0.0, 3)
    assert late.replicas == 7, "and so does who comes after a long time without a leader"


def test_a_change_that_was_withheld_is_no_change() -> None:
    policy = TargetTrackingPolicy(targets={"cpu_usage_pct": 50}, up=UP, max_replicas=100)
    order, memory = decide(policy, HIGH, Turn(NOW, Memory(NOW - 15, NOW - 15)), 60.0, 1)
    assert (order.action, order.replicas, order.limited_by) == (ScalingAction.NO_ACTION, 3, "cooldown")
    assert not memory.history.changes and memory.history.recommendations[-1] == (NOW, 6)


def test_replicas_that_say_nothing_of_their_cpu_are_taken_for_what_hinders() -> None:
    policy = TargetTrackingPolicy(targets={"cpu_usage_pct": 50}, max_replicas=100)
    members = (
        *(FleetMember(f"r{n}", 0.0, 80.0, None) for n in range(2)),
        *(FleetMember(f"s{n}", 0.0, None, None) for n in "ab"),
    )
    seen = FleetSnapshot(cpu_usage_pct=80.0, current_replicas=4, members=members)
    order, _ = decide(policy, seen, Turn(NOW, Memory()), 0.0, 1)
    assert order.action is ScalingAction.NO_ACTION and "2 silent" in order.reason
    order, _ = decide(policy, replace(seen, members=members[:2], current_replicas=2), Turn(NOW, Memory()), 0.0, 1)
    assert order.replicas == 4


def test_open_breakers_get_to_the_policy() -> None:
    policy = TargetTrackingPolicy(targets={"cpu_usage_pct": 50}, hold_while_open=True)
    seen = FleetSnapshot(
        cpu_usage_pct=99, current_replicas=1, members=(FleetMember("r", 0.0, 99.0, None),), open_breakers=("db",)
    )
    order, _ = decide(policy, seen, Turn(NOW, Memory()), 0.0, 1)
    assert order.limited_by == "open breaker"
