"""How many replicas there should be: pure policies."""

from riskscale.scaling.policy import AutoScalingPolicy
from riskscale.scaling.rules import DOWN, UP, Behavior, Change, Percent, Pods, Recommendation, ScalingHistory
from riskscale.scaling.snapshot import MetricsSnapshot, ScalingAction, ScalingDecision
from riskscale.scaling.target import Observation, PerReplica, Target, TargetTrackingPolicy, Total

__all__ = [
    "DOWN",
    "UP",
    "AutoScalingPolicy",
    "Behavior",
    "Change",
    "MetricsSnapshot",
    "Observation",
    "PerReplica",
    "Percent",
    "Pods",
    "Recommendation",
    "ScalingAction",
    "ScalingDecision",
    "ScalingHistory",
    "Target",
    "TargetTrackingPolicy",
    "Total",
]
