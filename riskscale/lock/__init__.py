"""Locks that replicas share."""

from riskscale.lease.lease import Lease
from riskscale.lock.backends import InMemoryLockBackend, LuaLockBackend
from riskscale.lock.calls import LockInfo, Waiter
from riskscale.lock.distributed import DistributedLock
from riskscale.lock.lock import Lock
from riskscale.lock.multi import MultiLock

__all__ = [
    "DistributedLock",
    "InMemoryLockBackend",
    "Lease",
    "Lock",
    "LockInfo",
    "LuaLockBackend",
    "MultiLock",
    "Waiter",
]
