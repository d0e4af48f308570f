"""Protocols that callers may implement."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from riskscale.rate.limit import Limit


@runtime_checkable
class MetricsCollector(Protocol):
    """Where riskscale counts; exporters decide what becomes of labels (``tenant_id`` may be too many).

    Its methods are called in the caller's thread or event loop, and must not wait. What they raise is logged, the first
    of each kind, and disturbs nobody. ``docs/metrics.md`` has the names and labels.
    """

    def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
        """Add ``value`` to the counter ``name``."""

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Record one ``value`` of the distribution ``name``."""

    def gauge(self, name: str, value: float, /, **labels: str) -> None:
        """Set ``name`` to ``value``."""


@runtime_checkable
class LimitSource(Protocol):
    """What limits each key has: :class:`riskscale.RateLimiter` takes one in place of limits that are all keys' own.

    Both methods are called for every decision, so they are quick; ``known`` raises nothing and waits for nothing.
    """

    def refresh(self, keys: Sequence[str]) -> Awaitable[object] | None:
        """Bring what is known of ``keys`` up to date. None: it is; else something to wait for (a blocking source waits
        by itself). Where that fails, what was known goes on."""

    def known(self, keys: Sequence[str]) -> Sequence[Limit | Iterable[Limit]]:
        """The limits of each of ``keys``, in their order, as far as they are known."""


@runtime_checkable
class BreakerView(Protocol):
    """What :class:`riskscale.HealthMonitor` sees of a breaker: ours, or anybody's."""

    @property
    def name(self) -> str:
        """What it guards."""

    @property
    def state(self) -> str:
        """``closed``, or what else it is in; told without waiting."""


@runtime_checkable
class BulkheadView(Protocol):
    """What :class:`riskscale.HealthMonitor` sees of a bulkhead: ours, or anybody's."""

    @property
    def name(self) -> str:
        """What it protects."""

    def status(self) -> Any:
        """Something with ``running``, ``waiting``, ``max_concurrent`` and ``max_queued``; in asyncio it may be awaited
        for."""


@runtime_checkable
class ScriptClient(Protocol):
    """What riskscale needs of a client, blocking or asyncio: redis-py's and valkey-py's have it."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """EVALSHA."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """EVAL."""


@runtime_checkable
class RedisLockBackend(Protocol):
    """What :class:`riskscale.DistributedLock` stands on."""

    async def set_nx_ex(self, key: str, value: str, ttl: float) -> bool:
        """Set ``key`` to ``value`` for ``ttl`` seconds if nobody holds it; whether it was set."""

    async def get(self, key: str) -> str | None:
        """The present value, or None."""

    async def delete_if_value(self, key: str, value: str) -> bool:
        """Delete ``key`` if it still has ``value``; whether it had."""


@runtime_checkable
class RateLimitBackend(Protocol):
    """What :class:`riskscale.TenantRateLimiter` stands on. It may also have ``get_current_count(key) -> int`` and
    ``try_window(key, limit, window_seconds) -> bool``, which counts a request only if it is let through."""

    async def incr_window(self, key: str, window_seconds: float) -> int:
        """Count one request of ``key``; how many its window has seen."""


@runtime_checkable
class ResultStore(Protocol):
    """Where :class:`riskscale.IdempotencyGuard` keeps results that are too large for Redis."""

    async def put(self, name: str, data: bytes, ttl: float) -> None:
        """Keep ``data`` as ``name``, which nobody can guess and nobody else uses, for ``ttl`` seconds at the least."""

    async def get(self, name: str) -> bytes | None:
        """What was kept, or None."""


@runtime_checkable
class SyncRedisLockBackend(Protocol):
    """:class:`RedisLockBackend`, blocking."""

    def set_nx_ex(self, key: str, value: str, ttl: float) -> bool:
        """Set ``key`` to ``value`` for ``ttl`` seconds if nobody holds it; whether it was set."""

    def get(self, key: str) -> str | None:
        """The present value, or None."""

    def delete_if_value(self, key: str, value: str) -> bool:
        """Delete ``key`` if it still has ``value``; whether it had."""


@runtime_checkable
class SyncRateLimitBackend(Protocol):
    """:class:`RateLimitBackend`, blocking."""

    def incr_window(self, key: str, window_seconds: float) -> int:
        """Count one request of ``key``; how many its window has seen."""


@runtime_checkable
class SyncResultStore(Protocol):
    """:class:`ResultStore`, blocking."""

    def put(self, name: str, data: bytes, ttl: float) -> None:
        """Keep ``data`` as ``name``, which nobody can guess and nobody else uses, for ``ttl`` seconds at the least."""

    def get(self, name: str) -> bytes | None:
        """What was kept, or None."""
