"""The keyed lock and the limiter by tenant, blocking; see their asyncio forms in ``lock`` and ``rate``."""

from __future__ import annotations

from typing import Any

from riskscale._core.durations import MAX_WINDOW_US, MICRO, Duration, integer, microseconds
from riskscale._core.keys import check_name
from riskscale._core.meter import Meter
from riskscale.lease.grant import lease_us, new_token
from riskscale.lock.backends import InMemoryLocks, LuaLockCalls
from riskscale.rate.backends import UNLIMITED, InMemoryWindows, WindowCalls
from riskscale.rate.limit import MAX_COUNT
from riskscale.sync.hub import hub_of
from riskscale.typing import MetricsCollector, SyncRateLimitBackend, SyncRedisLockBackend


class DistributedLock:
    """See :class:`riskscale.DistributedLock`."""

    def __init__(self, backend: SyncRedisLockBackend) -> None:
        self._backend = backend
        self._tokens: dict[str, str] = {}

    def acquire(self, key: str, ttl: Duration) -> bool:
        """See :meth:`riskscale.DistributedLock.acquire`."""
        check_name(key, "key")
        lease = lease_us(ttl) / MICRO
        token = new_token()
        taken = self._backend.set_nx_ex(key, token, lease)
        if taken:
            self._tokens[key] = token
        return taken

    def release(self, key: str) -> None:
        """See :meth:`riskscale.DistributedLock.release`."""
        token = self._tokens.get(key)
        if token is None:
            return
        self._backend.delete_if_value(key, token)
        if self._tokens.get(key) == token:
            del self._tokens[key]


class LuaLockBackend:
    """See :class:`riskscale.LuaLockBackend`."""

    def __init__(self, client: Any) -> None:
        self._hub = hub_of(client)
        self._calls = LuaLockCalls(self._hub)

    def set_nx_ex(self, key: str, value: str, ttl: float) -> bool:
        """Take ``key`` for ``ttl`` seconds if it is free and nobody waits for it; whether it was taken."""
        return self._hub.drive(self._calls.set_nx_ex(key, value, ttl))

    def get(self, key: str) -> str | None:
        """The holder's token, or None."""
        return self._hub.run(self._calls.get(key)).owner or None

    def delete_if_value(self, key: str, value: str) -> bool:
        """Release ``key`` if ``value`` holds it; whether it did."""
        return self._hub.run(self._calls.delete_if_value(key, value))[0]


class InMemoryLockBackend(InMemoryLocks):
    """See :class:`riskscale.InMemoryLockBackend`."""


class TenantRateLimiter:
    """See :class:`riskscale.TenantRateLimiter`."""

    def __init__(
        self,
        backend: SyncRateLimitBackend,
        requests_per_window: int,
        window_seconds: Duration,
        metrics: MetricsCollector | None = None,
    ) -> None:
        self._backend = backend
        self._limit = integer(requests_per_window, "requests_per_window", 1, MAX_COUNT["fixed_window"])
        self._window = microseconds(window_seconds, "window_seconds", 1, MAX_WINDOW_US) / 1e6
        self._meter = Meter.of(metrics)

    def allow_request(self, tenant_id: str) -> bool:
        """See :meth:`riskscale.TenantRateLimiter.allow_request`."""
        key = f"rate:tenant:{check_name(tenant_id, 'tenant_id')}"
        try_window = getattr(self._backend, "try_window", None)
        if try_window is not None:
            allowed = bool(try_window(key, self._limit, self._window))
        else:
            allowed = self._backend.incr_window(key, self._window) <= self._limit
        if not allowed and self._meter is not None:
            self._meter.increment("rate_limit_exceeded", tenant_id=tenant_id)
        return allowed


class InMemoryRateLimitBackend(InMemoryWindows):
    """See :class:`riskscale.InMemoryRateLimitBackend`."""


class RedisRateLimitBackend:
    """See :class:`riskscale.RedisRateLimitBackend`."""

    def __init__(self, client: Any) -> None:
        self._hub = hub_of(client)
        self._calls = WindowCalls(self._hub.root)

    def incr_window(self, key: str, window_seconds: float) -> int:
        """Count one request of ``key``; how many its window has seen."""
        return self._calls.used(self._hub.run(self._calls.hit(key, UNLIMITED, window_seconds)))

    def try_window(self, key: str, limit: int, window_seconds: float) -> bool:
        """Count one request of ``key`` if it is within ``limit``; whether it was."""
        return self._calls.allowed(self._hub.run(self._calls.hit(key, limit, window_seconds)))

    def get_current_count(self, key: str) -> int:
        """What the present window of ``key`` has seen, of the length last counted by this object; 0 before that."""
        call = self._calls.look(key)
        return 0 if call is None else self._calls.used(self._hub.run(call))
