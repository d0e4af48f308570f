"""The limiter by tenant, over any backend."""

from __future__ import annotations

from riskscale._core.durations import MAX_WINDOW_US, Duration, integer, microseconds
from riskscale._core.keys import check_name
from riskscale._core.meter import Meter
from riskscale.rate.limit import MAX_COUNT
from riskscale.typing import MetricsCollector, RateLimitBackend


class TenantRateLimiter:
    """So many requests per window for each tenant, in windows that start at a tenant's first request.

    Args:
        backend: :class:`riskscale.RedisRateLimitBackend`, :class:`riskscale.InMemoryRateLimitBackend`, or your own.
            It sees the key ``rate:tenant:{tenant_id}``. One that has ``try_window`` does not count what it refuses.
        requests_per_window: 1 or more.
        window_seconds: length of the window.
        metrics: gets ``increment("rate_limit_exceeded", tenant_id=...)`` at each refusal.

    Raises:
        ArgumentError: an argument is out of range.
    """

    def __init__(
        self,
        backend: RateLimitBackend,
        requests_per_window: int,
        window_seconds: Duration,
        metrics: MetricsCollector | None = None,
    ) -> None:
        self._backend = backend
        self._limit = integer(requests_per_window, "requests_per_window", 1, MAX_COUNT["fixed_window"])
        self._window = microseconds(window_seconds, "window_seconds", 1, MAX_WINDOW_US) / 1e6
        self._meter = Meter.of(metrics)

    async def allow_request(self, tenant_id: str) -> bool:
        """Whether one more request of ``tenant_id`` passes; ArgumentError if the id is empty."""
        key = f"rate:tenant:{check_name(tenant_id, 'tenant_id')}"
        try_window = getattr(self._backend, "try_window", None)
        if try_window is not None:
            allowed = bool(await try_window(key, self._limit, self._window))
        else:
            allowed = await self._backend.incr_window(key, self._window) <= self._limit
        if not allowed and self._meter is not None:
            self._meter.increment("rate_limit_exceeded", tenant_id=tenant_id)
        return allowed
