"""What :class:`riskscale.TenantRateLimiter` can stand on: fixed windows, here or on a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from riskscale._core.call import Call
from riskscale._core.hub import hub_of
from riskscale._core.memory import ExpiringStore
from riskscale.errors import StateError
from riskscale.rate._model import FixedWindow, hit
from riskscale.rate.calls import Decision, Plan, only
from riskscale.rate.limit import MAX_COUNT, Limit

UNLIMITED = MAX_COUNT["fixed_window"]


class InMemoryWindows:
    """The reference model of the fixed window, as a keyed store in this process."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or (lambda: time.monotonic_ns() // 1000)
        self._windows = ExpiringStore(FixedWindow)
        self._mutex = threading.Lock()

    def incr_window(self, key: str, window_seconds: float) -> int:
        """Count one request; how many the window has seen."""
        return self._hit(key, Limit(UNLIMITED, per=window_seconds, algorithm="fixed_window"))[1]

    def try_window(self, key: str, limit: int, window_seconds: float) -> bool:
        """Count one request if it is within ``limit``; whether it was."""
        return self._hit(key, Limit(limit, per=window_seconds, algorithm="fixed_window"))[0]

    def get_current_count(self, key: str) -> int:
        """What the present window has seen."""
        with self._mutex:
            state = self._windows.find(key)
            return state.used if state is not None and state.expires_us > self._clock() else 0

    def _hit(self, key: str, limit: Limit) -> tuple[bool, int]:
        with self._mutex:
            now_us = self._clock()
            outcome = hit([self._windows.get(key, now_us)], [limit], 1, now_us)[0]
        return outcome.retry_us == 0, limit.count - outcome.remaining


class InMemoryRateLimitBackend:
    """In this process alone: for tests, and for a service of one replica.

    Args:
        clock: integer microseconds; None: the monotonic clock.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._windows = InMemoryWindows(clock)

    async def incr_window(self, key: str, window_seconds: float) -> int:
        """Count one request of ``key``; how many its window has seen."""
        return self._windows.incr_window(key, window_seconds)

    async def try_window(self, key: str, limit: int, window_seconds: float) -> bool:
        """Count one request of ``key`` if it is within ``limit``; whether it was."""
        return self._windows.try_window(key, limit, window_seconds)

    async def get_current_count(self, key: str) -> int:
        """What the present window of ``key`` has seen."""
        return self._windows.get_current_count(key)


class WindowCalls:
    """The three operations over ``rate/fixed_window``."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._plans: dict[tuple[int, float], Plan] = {}
        self._window: float | None = None

    def hit(self, key: str, limit: int, window_seconds: float) -> Call[list[Decision | StateError]]:
        """Count one request if it is within ``limit``."""
        self._window = window_seconds
        return self._plan(limit, window_seconds).hits([(key, 1)], True)

    def look(self, key: str) -> Call[list[Decision | StateError]] | None:
        """Peek at the window last used; None where none was."""
        return None if self._window is None else self._plan(UNLIMITED, self._window).hits([(key, 1)], False)

    @staticmethod
    def used(results: list[Decision | StateError]) -> int:
        """Units used, from the reply under no limit."""
        decision = only(results)
        return decision.limit.count - decision.remaining

    @staticmethod
    def allowed(results: list[Decision | StateError]) -> bool:
        """Whether the request was counted."""
        return only(results).allowed

    def _plan(self, count: int, window_seconds: float) -> Plan:
        plan = self._plans.get((count, window_seconds))
        if plan is None:
            limit = Limit(count, per=window_seconds, algorithm="fixed_window")
            plan = self._plans[count, window_seconds] = Plan(self._root, limit, "window", None)
        return plan


class RedisRateLimitBackend:
    """Over ``lua/rate/fixed_window.lua``, for an asyncio client or hub."""

    def __init__(self, client: Any) -> None:
        self._hub = hub_of(client)
        self._calls = WindowCalls(self._hub.root)

    async def incr_window(self, key: str, window_seconds: float) -> int:
        """Count one request of ``key``; how many its window has seen."""
        return self._calls.used(await self._hub.run(self._calls.hit(key, UNLIMITED, window_seconds)))

    async def try_window(self, key: str, limit: int, window_seconds: float) -> bool:
        """Count one request of ``key`` if it is within ``limit``; whether it was."""
        return self._calls.allowed(await self._hub.run(self._calls.hit(key, limit, window_seconds)))

    async def get_current_count(self, key: str) -> int:
        """What the present window of ``key`` has seen, of the length last counted by this object; 0 before that."""
        call = self._calls.look(key)
        return 0 if call is None else self._calls.used(await self._hub.run(call))
