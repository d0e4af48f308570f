"""riskscale for blocking clients and threads: the same names and signatures, without await."""

from riskscale.limits.base import StaticLimits
from riskscale.sync.breaker import CircuitBreaker
from riskscale.sync.bulkhead import BulkheadExecutor, SharedBulkhead
from riskscale.sync.distributed import (
    DistributedLock,
    InMemoryLockBackend,
    InMemoryRateLimitBackend,
    LuaLockBackend,
    RedisRateLimitBackend,
    TenantRateLimiter,
)
from riskscale.sync.election import Election
from riskscale.sync.fence import Guard
from riskscale.sync.fleet import FleetMetrics, ScalingController
from riskscale.sync.health import HealthMonitor
from riskscale.sync.hub import Hub
from riskscale.sync.idempotency import Claim, IdempotencyGuard
from riskscale.sync.lease import Lease
from riskscale.sync.leased import LeasedRateLimiter
from riskscale.sync.limits import CallableLimits, RedisLimits
from riskscale.sync.lock import Lock
from riskscale.sync.multi import MultiLock
from riskscale.sync.partition import PartitionGroup, PartitionRouter
from riskscale.sync.rate import MultiRateLimiter, RateLimiter
from riskscale.sync.reservation import Reservation
from riskscale.sync.semaphore import ReadWriteLock, Semaphore

__all__ = [
    "BulkheadExecutor",
    "CallableLimits",
    "CircuitBreaker",
    "Claim",
    "DistributedLock",
    "Election",
    "FleetMetrics",
    "Guard",
    "HealthMonitor",
    "Hub",
    "IdempotencyGuard",
    "InMemoryLockBackend",
    "InMemoryRateLimitBackend",
    "Lease",
    "LeasedRateLimiter",
    "Lock",
    "LuaLockBackend",
    "MultiLock",
    "MultiRateLimiter",
    "PartitionGroup",
    "PartitionRouter",
    "RateLimiter",
    "ReadWriteLock",
    "RedisLimits",
    "RedisRateLimitBackend",
    "Reservation",
    "ScalingController",
    "Semaphore",
    "SharedBulkhead",
    "StaticLimits",
    "TenantRateLimiter",
]
