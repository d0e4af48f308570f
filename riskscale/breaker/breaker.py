"""The circuit breaker for asyncio."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from riskscale._core.durations import Duration
from riskscale._core.hub import hub_of
from riskscale.breaker.base import (
    BaseCircuitBreaker,
    Entered,
    MetricsCallback,
    check_callable,
    check_force,
    check_reason,
    local_replica,
    policy_of,
)
from riskscale.breaker.events import Events
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.replica import Permit
from riskscale.breaker.reporter import Link, Reporter
from riskscale.breaker.state import BreakerInfo, BreakerState
from riskscale.errors import ArgumentError, CircuitOpen


class CircuitBreaker(BaseCircuitBreaker):
    """Refuses calls to a dependency that is broken, and tries it again after a while.

    Args:
        failure_threshold: so many failures in a row open it.
        recovery_timeout_seconds: how long it is open before one call may try.
        name: what it guards; needed where it is shared.
        metrics_callback: called with a metric and the breaker's name: ``circuit_breaker_success``,
            ``circuit_breaker_failure``, ``circuit_breaker_rejected``, ``circuit_breaker_state_change``. What it raises
            is logged, the first time, and swallowed.
        policy: when it opens and closes, in place of the two thresholds.
        redis: a :class:`riskscale.Hub`, or an asyncio client: then all replicas share the breaker of that name. With a
            hub, reports, pushes and re-reads go on in the background; with a bare client nothing does, and a call that
            finds its knowledge older than ``refresh_seconds`` asks the server first.

    Raises:
        ArgumentError: an argument is malformed, or it could never open.

    A server that is gone never disturbs a call: each replica then decides by itself, by the same policy.

    ::

        breaker = CircuitBreaker(5, 30, "payments")
        await breaker.call(client.post, url)  # CircuitOpen, with retry_after, while it is open

        async with breaker:
            await client.post(url)

        @breaker
        async def pay(order): ...

    An exception counts as a failure (see :class:`riskscale.BreakerPolicy`); a call that is cancelled counts as nothing.
    So a time-out belongs inside: one around the breaker cancels the call, and a dependency that hangs is never found
    out.
    """

    def __init__(
        self,
        failure_threshold: int | None = None,
        recovery_timeout_seconds: Duration | None = None,
        name: str | None = None,
        metrics_callback: MetricsCallback | None = None,
        *,
        policy: BreakerPolicy | None = None,
        redis: Any = None,
    ) -> None:
        policy = policy_of(failure_threshold, recovery_timeout_seconds, policy)
        self._hub = None if redis is None else hub_of(redis)
        self._link = None if self._hub is None else self._hub.part(Reporter).link(name, policy)
        replica = local_replica(name, policy) if self._link is None else self._link.replica
        super().__init__(replica, metrics_callback, None if self._hub is None else self._hub.meter)
        self._entered = Entered()

    async def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """``func(*args, **kwargs)``, awaited if it gives something to await, and what it returns.

        Raises:
            ArgumentError: ``func`` cannot be called, as what a coroutine function returns.
            CircuitOpen: it was refused, and not called.
        """
        check_callable(func)
        permit = self._replica.enter_closed() or await self._enter()
        try:
            result = func(*args, **kwargs)
            if hasattr(result, "__await__"):
                result = await result
            failed = self._is_bad(result)
        except BaseException as error:
            self._leave(permit, self._is_failure(error))
            if isinstance(error, Exception):
                await self._flush()
            raise
        self._leave(permit, failed)
        if self._replica.urgent:
            await self._flush()
        return result

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Decorate ``func``, which becomes a coroutine function if it was none; ArgumentError for a generator."""
        if not callable(func) or inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
            raise ArgumentError("func", "must be a function, and no generator: that is called before it does anything")

        @functools.wraps(func)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            return await self.call(func, *args, **kwargs)

        return guarded

    async def __aenter__(self) -> CircuitBreaker:
        permit = self._replica.enter_closed() or await self._enter()
        self._entered.push(asyncio.current_task(), permit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self._entered.pop(asyncio.current_task()), self._is_failure(error))
        if error is None or isinstance(error, Exception):
            await self._flush()

    def events(self) -> Events:
        """Its transitions from now on, to be read with ``async for``; of those not read the last 1000 are kept.

        With a bare client they are those that its own calls come upon.
        """
        if self._link is not None:
            self._link.start()
        return Events(self._replica)

    async def inspect(self) -> BreakerInfo:
        """What it is in, how that came about, and what is counted: by all replicas, if it is shared. Changes nothing.

        Raises:
            StateError: a key of it holds something else.
        """
        return self._replica.info() if self._link is None else await self._link.read()

    async def force_open(self, seconds: Duration, reason: str) -> None:
        """Refuse all calls for so long; then one may try. ``reason`` is for people, and seen in its transition."""
        await self._force(BreakerState.OPEN, check_force(seconds, reason), reason)

    async def disable(self, seconds: Duration, reason: str) -> None:
        """Let all calls pass for so long, and count none; then it is closed."""
        await self._force(BreakerState.DISABLED, check_force(seconds, reason), reason)

    async def metrics_only(self, seconds: Duration, reason: str) -> None:
        """Let all calls pass for so long, and count them; then it is closed."""
        await self._force(BreakerState.METRICS_ONLY, check_force(seconds, reason), reason)

    async def reset(self, reason: str) -> None:
        """Close it now, with nothing counted."""
        check_reason(reason)
        await self._force(BreakerState.CLOSED, 0, reason)

    async def _enter(self) -> Permit:
        if self._link is not None and not self._replica.is_ready:
            await self._link.refresh()
        while True:
            permit = self._admit()
            if permit is None and self._link is not None:
                permit = await self._ask(self._link)
            if permit is not None:
                return permit

    async def _ask(self, link: Link) -> Permit | None:
        try:
            return await link.ask()
        except CircuitOpen:
            self._reject()
            raise

    async def _flush(self) -> None:
        if self._link is not None and self._replica.urgent:
            await self._link.flush()

    async def _force(self, state: BreakerState, length_us: int, reason: str) -> None:
        if self._link is None:
            self._replica.force(state, length_us, reason)
        else:
            await self._link.force(state, length_us, reason)
