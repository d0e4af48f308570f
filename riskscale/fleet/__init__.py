"""How all replicas of a service are, together, and one of them that scales it."""

from riskscale.fleet.controller import ScalingController
from riskscale.fleet.cpu import ProcessCpu
from riskscale.fleet.metrics import FleetMetrics
from riskscale.fleet.snapshot import FleetMember, FleetSnapshot
from riskscale.fleet.turns import ScalingOrder

__all__ = ["FleetMember", "FleetMetrics", "FleetSnapshot", "ProcessCpu", "ScalingController", "ScalingOrder"]
