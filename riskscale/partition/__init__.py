"""Which partition a tenant belongs to."""

from riskscale.partition.partitioner import WorkloadPartitioner

__all__ = ["WorkloadPartitioner"]
