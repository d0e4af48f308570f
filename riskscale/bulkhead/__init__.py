"""Bulkheads: how many may run at once, and how many may wait for it, in one process or in all."""

from riskscale.bulkhead.adaptive import AdaptiveLimit
from riskscale.bulkhead.base import BulkheadStatus
from riskscale.bulkhead.executor import BulkheadExecutor
from riskscale.bulkhead.shared import SharedBulkhead

__all__ = ["AdaptiveLimit", "BulkheadExecutor", "BulkheadStatus", "SharedBulkhead"]
