"""Which partition a tenant belongs to, and which replica owns it."""

from riskscale.partition.assignment import Assignment
from riskscale.partition.calls import GroupInfo, MemberInfo
from riskscale.partition.group import PartitionGroup
from riskscale.partition.partitioner import WorkloadPartitioner
from riskscale.partition.router import PartitionRouter
from riskscale.partition.table import Route

__all__ = [
    "Assignment",
    "GroupInfo",
    "MemberInfo",
    "PartitionGroup",
    "PartitionRouter",
    "Route",
    "WorkloadPartitioner",
]
