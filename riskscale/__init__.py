"""riskscale: locks and rate limits that replicas share through Redis or Valkey. The blocking forms: riskscale.sync."""

from riskscale._core.hub import Hub
from riskscale.breaker import BreakerInfo, BreakerPolicy, BreakerState, CircuitBreaker, Counts, Transition
from riskscale.bulkhead import AdaptiveLimit, BulkheadExecutor, BulkheadStatus, SharedBulkhead
from riskscale.election import Election
from riskscale.errors import (
    AcquireTimeout,
    ArgumentError,
    BulkheadFull,
    CircuitOpen,
    HubClosed,
    IdempotencyConflict,
    LeaseLost,
    RateLimitExceeded,
    RiskscaleError,
    StaleFence,
    StateError,
)
from riskscale.fence import Guard
from riskscale.fleet import FleetMember, FleetMetrics, FleetSnapshot, ProcessCpu, ScalingController, ScalingOrder
from riskscale.idempotency import Claim, IdempotencyGuard, InProgress, Mismatch, Replay
from riskscale.limits import CallableLimits, RedisLimits, StaticLimits
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
    LeasedRateLimiter,
    Limit,
    MultiDecision,
    MultiRateLimiter,
    RateLimiter,
    RedisRateLimitBackend,
    Reservation,
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
from riskscale.typing import LimitSource, MetricsCollector, RateLimitBackend, RedisLockBackend, ResultStore

__version__ = "0.1.0"

__all__ = [
    "AcquireTimeout",
    "AdaptiveLimit",
    "ArgumentError",
    "AutoScalingPolicy",
    "BreakerInfo",
    "BreakerPolicy",
    "BreakerState",
    "BulkheadExecutor",
    "BulkheadFull",
    "BulkheadStatus",
    "CallableLimits",
    "CircuitBreaker",
    "CircuitOpen",
    "Claim",
    "Counts",
    "Decision",
    "DistributedLock",
    "Election",
    "FleetMember",
    "FleetMetrics",
    "FleetSnapshot",
    "Guard",
    "Hub",
    "HubClosed",
    "IdempotencyConflict",
    "IdempotencyGuard",
    "InMemoryLockBackend",
    "InMemoryRateLimitBackend",
    "InProgress",
    "Lease",
    "LeaseLost",
    "LeasedRateLimiter",
    "Limit",
    "LimitSource",
    "Lock",
    "LockInfo",
    "LuaLockBackend",
    "MetricsCollector",
    "MetricsSnapshot",
    "Mismatch",
    "MultiDecision",
    "MultiLock",
    "MultiRateLimiter",
    "ProcessCpu",
    "RateLimitBackend",
    "RateLimitExceeded",
    "RateLimiter",
    "ReadWriteLock",
    "RedisLimits",
    "RedisLockBackend",
    "RedisRateLimitBackend",
    "Replay",
    "Reservation",
    "ResultStore",
    "RiskscaleError",
    "ScalingAction",
    "ScalingController",
    "ScalingDecision",
    "ScalingHistory",
    "ScalingOrder",
    "Semaphore",
    "SemaphoreInfo",
    "Share",
    "SharedBulkhead",
    "StaleFence",
    "StateError",
    "StaticLimits",
    "TargetTrackingPolicy",
    "TenantRateLimiter",
    "Transition",
    "Waiter",
    "WorkloadPartitioner",
]
