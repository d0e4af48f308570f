"""riskscale: locks and rate limits that replicas share through Redis or Valkey. The blocking forms: riskscale.sync."""

from riskscale._core.hub import Hub
from riskscale.election import Election
from riskscale.errors import (
    AcquireTimeout,
    ArgumentError,
    HubClosed,
    LeaseLost,
    RateLimitExceeded,
    RiskscaleError,
    StaleFence,
    StateError,
)
from riskscale.fence import Guard
from riskscale.lock import (
    DistributedLock,
    InMemoryLockBackend,
    Lease,
    Lock,
    LockInfo,
    LuaLockBackend,
    MultiLock,
    Waiter,
)
from riskscale.partition import WorkloadPartitioner
from riskscale.rate import (
    Decision,
    InMemoryRateLimitBackend,
    Limit,
    RateLimiter,
    RedisRateLimitBackend,
    TenantRateLimiter,
)
from riskscale.scaling import (
    AutoScalingPolicy,
    MetricsSnapshot,
    ScalingAction,
    ScalingDecision,
    ScalingHistory,
    TargetTrackingPolicy,
)
from riskscale.semaphore import ReadWriteLock, Semaphore, SemaphoreInfo, Share
from riskscale.typing import MetricsCollector, RateLimitBackend, RedisLockBackend

__version__ = "0.1.0"

__all__ = [
    "AcquireTimeout",
    "ArgumentError",
    "AutoScalingPolicy",
    "Decision",
    "DistributedLock",
    "Election",
    "Guard",
    "Hub",
    "HubClosed",
    "InMemoryLockBackend",
    "InMemoryRateLimitBackend",
    "Lease",
    "LeaseLost",
    "Limit",
    "Lock",
    "LockInfo",
    "LuaLockBackend",
    "MetricsCollector",
    "MetricsSnapshot",
    "MultiLock",
    "RateLimitBackend",
    "RateLimitExceeded",
    "RateLimiter",
    "ReadWriteLock",
    "RedisLockBackend",
    "RedisRateLimitBackend",
    "RiskscaleError",
    "ScalingAction",
    "ScalingDecision",
    "ScalingHistory",
    "Semaphore",
    "SemaphoreInfo",
    "Share",
    "StaleFence",
    "StateError",
    "TargetTrackingPolicy",
    "TenantRateLimiter",
    "Waiter",
    "WorkloadPartitioner",
]
