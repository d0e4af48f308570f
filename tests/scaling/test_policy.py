"""The policy of thresholds, and what both policies have in common."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import ArgumentError
from riskscale.scaling import (
    AutoScalingPolicy,
    Behavior,
    MetricsSnapshot,
    Percent,
    PerReplica,
    Pods,
    ScalingAction,
    ScalingDecision,
    ScalingHistory,
    Target,
    TargetTrackingPolicy,
    Total,
)

UP, DOWN, NOTHING = ScalingAction.SCALE_UP, ScalingAction.SCALE_DOWN, ScalingAction.NO_ACTION
LOW = MetricsSnapshot(30, 100, 0.01, 10, 5)
SIGNALS = {"cpu_usage_pct": 80, "request_latency_p99_ms": 500, "failure_rate": 0.05, "queue_depth": 100}


@pytest.mark.parametrize(("signal", "threshold"), SIGNALS.items())
def test_one_signal_at_its_threshold_scales_up_and_one_that_is_not_low_holds(signal: str, threshold: float) -> None:
    policy = AutoScalingPolicy()
    decision = policy.evaluate(replace(LOW, **{signal: threshold}))
    assert decision.action is UP and signal in decision.reason
    almost = policy.evaluate(replace(LOW, **{signal: threshold * 0.999}))
    assert almost.action is NOTHING and signal in almost.reason


def test_all_low_scales_down_and_an_absent_signal_forbids_it() -> None:
    policy = AutoScalingPolicy()
    assert policy.evaluate(LOW).action is DOWN
    for signal in SIGNALS:
        decision = policy.evaluate(replace(LOW, **{signal: None}))
        assert decision.action is NOTHING and signal in decision.reason
    assert policy.evaluate(MetricsSnapshot(cpu_usage_pct=95, current_replicas=2)).action is UP


def test_bounds_and_what_is_not_known() -> None:
    policy = AutoScalingPolicy(min_replicas=2, max_replicas=5)
    high = replace(LOW, cpu_usage_pct=99)
    assert [policy.evaluate(replace(high, current_replicas=n)).action for n in (4, 5, 6)] == [UP, NOTHING, NOTHING]
    assert [policy.evaluate(replace(LOW, current_replicas=n)).action for n in (3, 2, 1)] == [DOWN, NOTHING, NOTHING]
    assert policy.evaluate(replace(high, current_replicas=5)).limited_by == "max_replicas"
    unknown = policy.evaluate(replace(high, current_replicas=None))
    assert unknown.action is NOTHING and "not known" in unknown.reason


def test_an_open_breaker_holds_by_choice() -> None:
    high = replace(LOW, cpu_usage_pct=99, open_breakers=["model"])
    assert AutoScalingPolicy().evaluate(high).action is UP
    held = AutoScalingPolicy(hold_while_open=True).evaluate(high)
    assert (held.action, held.limited_by) == (NOTHING, "open breaker") and "model" in held.reason
    tracking = TargetTrackingPolicy(targets={"cpu_usage_pct": 50}, hold_while_open=True)
    decision, after = tracking.evaluate(high, now=0, history=ScalingHistory())
    assert (decision.action, decision.replicas, decision.raw) == (NOTHING, 5, 10) and not after.changes
    assert tracking.evaluate(replace(high, open_breakers=()), now=0, history=after)[0].action is UP


@given(
    st.builds(
        MetricsSnapshot, *(st.none() | st.floats(0, 1000) for _ in range(2)), st.none() | st.floats(0, 1),
        st.none() | st.integers(0, 500), st.none() | st.integers(0, 20),
    )
)  # fmt: skip
def test_it_is_pure_and_keeps_to_its_bounds(snapshot: MetricsSnapshot) -> None:
    policy = AutoScalingPolicy(max_replicas=8)
    decision = policy.evaluate(snapshot)
    assert decision == policy.evaluate(snapshot) and decision.reason
    current = snapshot.current_replicas
    if decision.action is not NOTHING:
        assert current is not None and (current < 8 if decision.action is UP else current > 1)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", True])
@pytest.mark.parametrize("name", [field.name for field in fields(MetricsSnapshot) if field.name != "open_breakers"])
def test_bad_snapshots(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=name):
        MetricsSnapshot(**{name: value})


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("failure_rate", lambda: MetricsSnapshot(failure_rate=1.1)),
        ("open_breakers", lambda: MetricsSnapshot(open_breakers="model")),
        ("min_replicas", lambda: AutoScalingPolicy(min_replicas=3, max_replicas=2)),
        ("max_replicas", lambda: AutoScalingPolicy(max_replicas=0, min_replicas=0)),
        ("cpu_scale_down_pct", lambda: AutoScalingPolicy(cpu_scale_down_pct=80)),
        ("queue_depth_scale_up", lambda: AutoScalingPolicy(queue_depth_scale_up=math.nan)),
        ("latency_scale_up_ms", lambda: AutoScalingPolicy(latency_scale_up_ms=None)),
        ("targets", lambda: TargetTrackingPolicy(targets={})),
        ("targets", lambda: TargetTrackingPolicy(targets=["cpu"])),
        ("target", lambda: TargetTrackingPolicy(targets={"cpu": 0})),
        ("target", lambda: TargetTrackingPolicy(targets={"cpu": Target(-1)})),
        ("missing", lambda: Target(1, missing=math.nan)),
        ("tolerance", lambda: TargetTrackingPolicy(targets={"cpu": 1}, tolerance=2)),
        ("tolerance", lambda: TargetTrackingPolicy(targets={"cpu": 1}, tolerance=None)),
        ("count", lambda: Pods(0, 60)),
        ("period", lambda: Pods(1, 0)),
        ("percent", lambda: Percent(0, 60)),
        ("percent", lambda: Percent(math.inf, 60)),
        ("period", lambda: Percent(10, -1)),
        ("select", lambda: Behavior(select="most")),
        ("policies", lambda: Behavior(policies=["10%"])),
        ("stabilization", lambda: Behavior(stabilization=-1)),
        ("values", lambda: PerReplica([1, math.nan])),
        ("starting", lambda: PerReplica([1], starting=-1)),
        ("value", lambda: Total(-1)),
    ],
)
def test_bad_arguments(argument: str, make: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert caught.value.argument == argument


# Target tracking, beyond Kubernetes' tables


def track(
    policy: TargetTrackingPolicy, observed: Any, current: int, now: float = 0, history: ScalingHistory | None = None
) -> tuple[ScalingDecision, ScalingHistory]:
    return policy.evaluate(observed, now=now, history=history or ScalingHistory(), current_replicas=current)


def test_the_metric_that_asks_for_most_decides_and_an_absent_one_forbids_fewer() -> None:
    policy = TargetTrackingPolicy(targets={"cpu": 50, "queue": 10}, down=Behavior())
    decision, _ = track(policy, {"cpu": 60.0, "queue": Total(75)}, 5)
    assert (decision.replicas, decision.metric, decision.action) == (8, "queue", UP)
    decision, _ = track(policy, {"cpu": 10.0, "queue": None}, 5)
    assert (decision.replicas, decision.action, decision.limited_by) == (5, NOTHING, "missing metrics")
    assert track(policy, {"cpu": 90.0}, 5)[0].replicas == 9
    assert track(policy, {}, 5)[0].limited_by == "missing metrics"
    assert track(policy, {"cpu": PerReplica([None, None]), "queue": Total(10)}, 5)[0].action is NOTHING
    with pytest.raises(ArgumentError, match="cpu"):
        track(policy, {"cpu": math.nan}, 5)


def test_a_dip_does_not_shrink_and_a_history_forgets() -> None:
    policy = TargetTrackingPolicy(targets={"load": 1}, max_replicas=50)
    history, now, replicas = ScalingHistory(), 0.0, 10
    for load in (10, 2, 2, 2):
        decision, history = track(policy, {"load": Total(load)}, replicas, now, history)
        replicas, now = decision.replicas or 0, now + 60
    assert replicas == 10 and decision.limited_by == "stabilization"
    decision, history = track(policy, {"load": Total(2)}, replicas, 301, history)
    assert (decision.replicas, decision.action) == (2, DOWN)
    decision, history = track(policy, {"load": Total(2)}, 2, 10_000, history)
    assert len(history.recommendations) == 1 and not history.changes


def test_select_and_disabled() -> None:
    narrow = Behavior(policies=[Pods(1, 60), Percent(100, 60)], select="min")
    assert track(TargetTrackingPolicy(targets={"load": 1}, up=narrow), {"load": Total(9)}, 4)[0].replicas == 5
    assert track(TargetTrackingPolicy(targets={"load": 1}, down=narrow), {"load": Total(1)}, 4)[0].replicas == 3
    never = TargetTrackingPolicy(targets={"load": 1}, down=Behavior(select="disabled"))
    decision, _ = track(never, {"load": Total(1)}, 4)
    assert (decision.replicas, decision.limited_by) == (4, "scale-down policy")


def test_from_and_to_nothing() -> None:
    policy = TargetTrackingPolicy(targets={"queue": 10}, min_replicas=0, down=Behavior())
    assert track(policy, {"queue": Total(0)}, 3)[0].replicas == 0
    assert track(policy, {"queue": Total(35)}, 0)[0].replicas == 4
    assert track(policy, {"queue": Total(0)}, 0)[0].action is NOTHING
    snapshot = MetricsSnapshot(queue_depth=5)
    assert policy.evaluate(snapshot, now=0, history=ScalingHistory())[0].action is NOTHING


@given(loads=st.lists(st.tuples(st.floats(0, 100), st.floats(1, 400)), max_size=30), start=st.integers(1, 20))
def test_it_keeps_to_its_bounds_and_repeats_itself(loads: list[tuple[float, float]], start: int) -> None:
    policy = TargetTrackingPolicy(targets={"load": 3}, min_replicas=2, max_replicas=20)
    history, now, current = ScalingHistory(), 0.0, start
    for load, gap in loads:
        now += gap
        first = track(policy, {"load": Total(load)}, current, now, history)
        assert first == track(policy, {"load": Total(load)}, current, now, history)
        decision, history = first
        assert decision.replicas is not None and 2 <= decision.replicas <= 20 and decision.raw is not None
        moved = decision.replicas - current
        assert (decision.action is UP, decision.action is DOWN) == (moved > 0, moved < 0)
        if decision.replicas != decision.raw:
            assert decision.limited_by
        current = decision.replicas
