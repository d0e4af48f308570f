"""What :class:`riskscale.DistributedLock` can stand on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.call import Call, Cleanup, Finish, Flow
from riskscale._core.hub import hub_of
from riskscale._core.memory import ExpiringStore
from riskscale.errors import StateError
from riskscale.lease.flows import TRY_ONCE
from riskscale.lease.grant import lease_us
from riskscale.lock import calls
from riskscale.lock._model import LockModel


class LuaLockCalls:
    """The three operations over the lock's own scripts, so that both kinds of lock exclude each other."""

    def __init__(self, hub: BaseHub) -> None:
        self._hub = hub

    def keys(self, key: str) -> calls.LockKeys:
        """The keys of the lock ``key``."""
        return calls.LockKeys.of(self._hub.key(key, argument="key"))

    def set_nx_ex(self, key: str, value: str, ttl: float) -> Flow[bool]:
        """An outcome that stays unknown is followed by a release."""
        keys = self.keys(key)
        try:
            seen = yield Finish(calls.acquire(keys, value, lease_us(ttl), TRY_ONCE))
        except (GeneratorExit, ValueError, StateError):
            raise
        except BaseException:
            yield Cleanup(calls.release(keys, value))
            raise
        return bool(seen.acquired)

    def get(self, key: str) -> Call[calls.LockInfo]:
        """The holder's token is in ``owner``."""
        return calls.inspect(self.keys(key))

    def delete_if_value(self, key: str, value: str) -> Call[tuple[bool, float]]:
        """Released or not, and when."""
        return calls.release(self.keys(key), value)


class LuaLockBackend:
    """Over ``lua/lock``, for an asyncio client or hub; the value is the lock's token, ``[A-Za-z0-9_.:-]``."""

    def __init__(self, client: Any) -> None:
        self._hub = hub_of(client)
        self._calls = LuaLockCalls(self._hub)

    async def set_nx_ex(self, key: str, value: str, ttl: float) -> bool:
        """Take ``key`` for ``ttl`` seconds if it is free and nobody waits for it; whether it was taken."""
        return await self._hub.drive(self._calls.set_nx_ex(key, value, ttl))

    async def get(self, key: str) -> str | None:
        """The holder's token, or None."""
        return (await self._hub.run(self._calls.get(key))).owner or None

    async def delete_if_value(self, key: str, value: str) -> bool:
        """Release ``key`` if ``value`` holds it; whether it did."""
        return (await self._hub.run(self._calls.delete_if_value(key, value)))[0]


class InMemoryLocks:
    """The reference model of the lock, as a keyed store in this process."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or (lambda: time.monotonic_ns() // 1000)
        self._locks = ExpiringStore(LockModel)
        self._mutex = threading.Lock()

    def set_nx_ex(self, key: str, value: str, ttl: float) -> bool:
        """Take ``key`` if it is free."""
        ttl_us = lease_us(ttl)
        with self._mutex:
            now_us = self._clock()
            return self._locks.get(key, now_us).acquire(value, ttl_us, TRY_ONCE, now_us).acquired

    def get(self, key: str) -> str | None:
        """The holder's token, or None."""
        with self._mutex:
            lock = self._locks.find(key)
            return lock.owner if lock is not None and lock.is_live(self._clock()) else None

    def delete_if_value(self, key: str, value: str) -> bool:
        """Release ``key`` if ``value`` holds it."""
        with self._mutex:
            lock = self._locks.find(key)
            if lock is None or lock.owner != value:
                return False
            return lock.release(value, self._clock()).released


class InMemoryLockBackend:
    """In this process alone: for tests, and for a service of one replica.

    Args:
        clock: integer microseconds; None: the monotonic clock.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._locks = InMemoryLocks(clock)

    async def set_nx_ex(self, key: str, value: str, ttl: float) -> bool:
        """Take ``key`` for ``ttl`` seconds if it is free; whether it was taken."""
        return self._locks.set_nx_ex(key, value, ttl)

    async def get(self, key: str) -> str | None:
        """The holder's token, or None."""
        return self._locks.get(key)

    async def delete_if_value(self, key: str, value: str) -> bool:
        """Release ``key`` if ``value`` holds it; whether it did."""
        return self._locks.delete_if_value(key, value)
