"""Target tracking decides as Kubernetes' autoscaler does: the figures of its published tests, in our own tables.

Source of the figures: kubernetes/kubernetes, pkg/controller/podautoscaler, replica_calculator_test.go and
horizontal_test.go. CPU there is a percentage of what was requested, so a silent replica counts as 100 on the way down.
"""

from __future__ import annotations

from typing import Any

import pytest

from riskscale.scaling import (
    Behavior,
    Change,
    Percent,
    PerReplica,
    Pods,
    Recommendation,
    ScalingHistory,
    Target,
    TargetTrackingPolicy,
    Total,
)
from riskscale.scaling.rules import stabilized
from riskscale.scaling.target import propose

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("current", "values", "starting", "target", "expected"),
    [
        pytest.param(3, [30, 50, 70], 0, 30, 5, id="scale up"),
        pytest.param(3, [50, 70], 1, 30, 4, id="up, one unready: less"),
        pytest.param(3, [40], 2, 30, 3, id="up, two unready: not at all"),
        pytest.param(2, [50, 70], 0, 30, 4, id="failed and deleted pods do not count"),
        pytest.param(5, [10, 30, 50, 25, 25], 0, 50, 3, id="scale down"),
        pytest.param(5, [10, 30, 50], 2, 50, 2, id="down, unready pods do not count"),
        pytest.param(5, [10], 0, 50, 1, id="down, unscheduled pods do not count"),
        pytest.param(3, [112.22, 103, 92.73], 0, 100, 3, id="within the tolerance"),
        pytest.param(4, [400, 950, 300, 700], 0, 100, 24, id="superfluous metrics left out"),
        pytest.param(4, [40, 9.5, None, None], 0, 100, 3, id="silent pods on the way down count as 100"),
        pytest.param(2, [100, None], 0, 100, 2, id="silent, at the target"),
        pytest.param(2, [190, None], 0, 100, 2, id="silent, above: would turn"),
        pytest.param(2, [60, None], 0, 100, 2, id="silent, below: would turn"),
        pytest.param(3, [45, None], 1, 50, 3, id="silent and unready: would turn"),
        pytest.param(3, [200, None], 1, 50, 4, id="silent and unready, far above"),
        pytest.param(4, [10, 10, None], 1, 50, 3, id="silent and unready, far below"),
        pytest.param(2, [10, 10, None], 0, 50, 2, id="a surge of a rolling update would turn it"),
    ],
)
def test_utilisation(current: int, values: list[float | None], starting: int, target: float, expected: int) -> None:
    proposal = propose(PerReplica(values, starting), Target(target, missing=100), current, 0.1)
    assert proposal is not None and proposal.replicas == expected


@pytest.mark.parametrize(
    ("current", "observed", "target", "expected"),
    [
        pytest.param(3, PerReplica([20, 10, 30]), 15, 4, id="pods, up"),
        pytest.param(3, PerReplica([50, 10, 30]), 15, 6, id="pods, up, readiness is CPU's alone"),
        pytest.param(3, PerReplica([50, 15, 30]), 15, 7, id="pods, up, rounded up"),
        pytest.param(5, PerReplica([12] * 5), 20, 3, id="pods, down"),
        pytest.param(3, PerReplica([20, 21, 21]), 20, 3, id="pods, tolerance"),
        pytest.param(3, 20.0, 15, 4, id="object, up"),
        pytest.param(5, 12.0, 20, 3, id="object, down"),
        pytest.param(3, 20.666, 20, 3, id="object, tolerance"),
        pytest.param(1, 8.6, 4.4, 2, id="external, up"),
        pytest.param(5, 8.6, 14.334, 3, id="external, down"),
        pytest.param(3, 8.6, 8.888, 3, id="external, tolerance"),
        pytest.param(3, Total(20.0), 5, 4, id="object per pod, up"),
        pytest.param(5, Total(6.0), 2, 3, id="object per pod, down"),
        pytest.param(4, Total(20.166), 5, 4, id="object per pod, tolerance"),
        pytest.param(3, Total(8.6), 2.15, 4, id="external per pod, up"),
        pytest.param(5, Total(8.6), 2.867, 3, id="external per pod, down"),
        pytest.param(3, Total(8.6), 2.9, 3, id="external per pod, tolerance"),
    ],
)
def test_other_metrics(current: int, observed: Any, target: float, expected: int) -> None:
    proposal = propose(observed, Target(target), current, 0.1)
    assert proposal is not None and proposal.replicas == expected


def rules(pods: int, pods_period: int, percent: int, percent_period: int) -> Behavior:
    """As its tests write them: 0 leaves a policy out."""
    policies: list[Pods | Percent] = [Pods(pods, pods_period)] if pods else []
    return Behavior(policies=[*policies, *([Percent(percent, percent_period)] if percent else [])])


def events(changes: list[int], period: int) -> list[int]:
    """Seconds ago, one in the middle of each of as many parts of the period."""
    part = period / len(changes)
    return [round(part * (index + 0.5)) for index in range(len(changes))]


NONE: list[int] = []


@pytest.mark.parametrize(
    ("sign", "rule", "bounds", "current", "raw", "ups", "downs", "expected", "limited_by"),
    [
        (1, (100, 60, 100, 60), (1, 1000), 10, 500, NONE, NONE, 110, "scale-up policy"),
        (1, (2, 60, 100, 60), (1, 1000), 10, 500, NONE, NONE, 20, "scale-up policy"),
        (1, (100, 60, 0, 0), (1, 1000), 10, 50, NONE, NONE, 50, ""),
        (1, (30, 60, 0, 0), (1, 1000), 10, 50, NONE, NONE, 40, "scale-up policy"),
        (1, (0, 0, 200, 60), (1, 1000), 10, 50, NONE, NONE, 30, "scale-up policy"),
        (-1, (20, 60, 1, 60), (1, 1000), 100, 2, NONE, NONE, 80, "scale-down policy"),
        (-1, (2, 60, 1, 60), (1, 1000), 100, 2, NONE, NONE, 98, "scale-down policy"),
        (-1, (100, 60, 0, 0), (1, 1000), 10, 0, NONE, NONE, 1, "min_replicas"),
        (-1, (0, 0, 100, 60), (5, 1000), 10, 2, NONE, NONE, 5, "min_replicas"),
        (-1, (5, 60, 0, 0), (1, 1000), 10, 2, NONE, NONE, 5, "scale-down policy"),
        (-1, (0, 0, 50, 60), (1, 1000), 10, 5, NONE, NONE, 5, ""),
        (1, (300, 60, 0, 0), (1, 200), 100, 500, [1, 5, 9], NONE, 200, "max_replicas"),
        (1, (0, 0, 10000, 60), (1, 200), 100, 500, [1, 5, 9], NONE, 200, "max_replicas"),
        (1, (5, 120, 0, 0), (1, 1000), 100, 500, [1, 5, 9], NONE, 100, "scale-up policy"),
        (1, (150, 120, 0, 0), (1, 1000), 100, 500, [1, 5, 9], NONE, 235, "scale-up policy"),
        (1, (0, 0, 200, 120), (1, 1000), 100, 500, [1, 5, 9], NONE, 255, "scale-up policy"),
        (1, (0, 0, 300, 300), (1, 1000), 6, 24, [4], [2], 16, "scale-up policy"),
        (-1, (115, 120, 0, 0), (1, 1000), 100, 0, NONE, [1, 5, 9], 1, "min_replicas"),
        (-1, (130, 120, 0, 0), (5, 1000), 100, 0, NONE, [1, 5, 9], 5, "min_replicas"),
        (-1, (0, 0, 100, 120), (5, 1000), 100, 2, NONE, [1, 5, 9], 5, "min_replicas"),
        (-1, (5, 120, 0, 0), (1, 1000), 100, 2, NONE, [1, 5, 9], 100, "scale-down policy"),
        (-1, (0, 0, 50, 120), (1, 1000), 100, 0, NONE, [2, 4, 6], 56, "scale-down policy"),
        (-1, (0, 0, 50, 180), (1, 1000), 10, 1, [2], [4], 6, "scale-down policy"),
        (-1, (0, 0, 10, 120), (1, 1000), 100, 0, NONE, [10, 10, 10], 100, "scale-down policy"),
        (-1, (0, 0, 1000, 120), (1, 1000), 10, 5, NONE, [10, 10, 10], 5, ""),
        (1, (1000, 60, 0, 0), (1, 1000), 100, 200, [8, 12, 9, 11], NONE, 200, ""),
        (1, (1000, 120, 100, 60), (1, 1000), 100, 200, [8, 12, 9, 11], NONE, 200, ""),
        (1, (1000, 30, 100, 60), (1, 1000), 100, 200, [8, 12, 9, 11], NONE, 200, ""),
        (-1, (1000, 60, 0, 0), (1, 1000), 100, 5, NONE, [8, 12, 9, 11], 5, ""),
        (-1, (1000, 120, 100, 60), (1, 1000), 100, 5, NONE, [8, 12, 9, 11], 5, ""),
        (-1, (1000, 30, 100, 60), (1, 1000), 100, 5, NONE, [8, 12, 9, 11], 5, ""),
    ],
)
def test_policies_and_bounds(
    sign: int, rule: tuple[int, int, int, int], bounds: tuple[int, int], current: int, raw: int, ups: list[int],
    downs: list[int], expected: int, limited_by: str,
) -> None:  # fmt: skip
    behaviors = {"up" if sign > 0 else "down": rules(*rule), "down" if sign > 0 else "up": Behavior()}
    policy = TargetTrackingPolicy(targets={"load": 1}, min_replicas=bounds[0], max_replicas=bounds[1], **behaviors)
    changes = [Change(NOW - ago, by) for by, ago in zip(ups, events(ups, 120), strict=True)] if ups else []
    changes += [Change(NOW - ago, -by) for by, ago in zip(downs, events(downs, 120), strict=True)] if downs else []
    history = ScalingHistory(changes=tuple(changes))
    decision, after = policy.evaluate({"load": Total(raw)}, now=NOW, history=history, current_replicas=current)
    assert (decision.replicas, decision.raw, decision.limited_by) == (expected, raw, limited_by)
    assert sum(each.by for each in after.changes if each.at == NOW) == expected - current


@pytest.mark.parametrize(
    ("past", "current", "raw", "up", "down", "expected"),
    [
        ([], 100, 5, 0, 0, 5),
        ([(4, 120), (5, 60)], 100, 3, 0, 180, 5),
        ([(4, 120), (5, 60)], 1, 7, 300, 0, 4),
        ([(1, 120), (2, 60)], 100, 3, 300, 0, 3),
        ([(4, 120), (5, 60)], 1, 3, 0, 300, 3),
        ([(10, 600), (9, 540)], 100, 3, 0, 0, 3),
        ([(10, 600), (9, 540)], 1, 100, 0, 0, 100),
        ([(10, 600), (4, 60), (5, 120), (9, 540)], 100, 3, 0, 180, 5),
        ([(10, 6000), (6, 60), (5, 120), (9, 180)], 1, 100, 300, 0, 5),
        ([(2, 6000), (3, 180)], 2, 1, 300, 300, 2),
        ([(2, 6000), (1, 180)], 2, 3, 300, 300, 2),
    ],
)
def test_stabilisation(past: list[tuple[int, int]], current: int, raw: int, up: int, down: int, expected: int) -> None:
    history = ScalingHistory(tuple(Recommendation(NOW - ago, replicas) for replicas, ago in past))
    directions = Behavior(stabilization=up), Behavior(stabilization=down)
    assert stabilized(current, raw, history, NOW, *directions) == expected
