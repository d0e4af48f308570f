"""riskscale for blocking clients and threads: the same names and signatures, without await."""

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
from riskscale.sync.hub import Hub
from riskscale.sync.lease import Lease
from riskscale.sync.lock import Lock
from riskscale.sync.multi import MultiLock
from riskscale.sync.rate import MultiRateLimiter, RateLimiter
from riskscale.sync.semaphore import ReadWriteLock, Semaphore

__all__ = [
    "DistributedLock",
    "Election",
    "Guard",
    "Hub",
    "InMemoryLockBackend",
    "InMemoryRateLimitBackend",
    "Lease",
    "Lock",
    "LuaLockBackend",
    "MultiLock",
    "MultiRateLimiter",
    "RateLimiter",
    "ReadWriteLock",
    "RedisRateLimitBackend",
    "Semaphore",
    "TenantRateLimiter",
]
