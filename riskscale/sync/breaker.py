"""The circuit breaker for threads; see :mod:`riskscale.breaker.breaker`."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from riskscale._core.durations import Duration
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
from riskscale.breaker.events import BaseEvents
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.replica import Permit, Replica
from riskscale.breaker.state import BreakerInfo, BreakerState, Transition
from riskscale.errors import ArgumentError, CircuitOpen
from riskscale.sync.hub import hub_of
from riskscale.sync.reporter import Link, Reporter


class Events(BaseEvents):
    """``for transition in breaker.events()``, which waits, until the hub is closed."""

    def __init__(self, replica: Replica) -> None:
        self._changed = threading.Event()
        super().__init__(replica)

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Transition:
        while True:
            self._changed.clear()  # before looking: what comes meanwhile sets it again
            if self._seen:
                return self._seen.popleft()
            if self._is_over:
                raise StopIteration
            self._changed.wait()

    def _put(self, transition: Transition | None) -> None:
        super()._put(transition)
        self._changed.set()


class CircuitBreaker(BaseCircuitBreaker):
    """Refuses calls to a dependency that is broken, from any number of threads; see :class:`riskscale.CircuitBreaker`.

    No lock is held while a call is made.
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

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """``func(*args, **kwargs)``, and what it returns; see :meth:`riskscale.CircuitBreaker.call`.

        Raises:
            ArgumentError: ``func`` cannot be called, or gives something to await.
        """
        check_callable(func)
        permit = self._replica.enter_closed() or self._enter()
        try:
            result = func(*args, **kwargs)
            failed = None if hasattr(result, "__await__") else self._is_bad(result)
        except BaseException as error:
            self._leave(permit, self._is_failure(error))
            if isinstance(error, Exception):
                self._flush()
            raise
        self._leave(permit, failed)
        if self._replica.urgent:
            self._flush()
        if failed is None:  # nothing has been tried yet
            if inspect.iscoroutine(result):
                result.close()
            raise ArgumentError("func", "must not give something to await: that is for riskscale.CircuitBreaker")
        return result

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate ``func``; ArgumentError for a generator or a coroutine function."""
        if (
            not callable(func)
            or inspect.iscoroutinefunction(func)
            or inspect.isasyncgenfunction(func)
            or inspect.isgeneratorfunction(func)
        ):
            raise ArgumentError("func", "must be a plain function: others are called before they do anything")

        @functools.wraps(func)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            return self.call(func, *args, **kwargs)

        return guarded

    def __enter__(self) -> CircuitBreaker:
        permit = self._replica.enter_closed() or self._enter()
        self._entered.push(threading.get_ident(), permit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self._entered.pop(threading.get_ident()), self._is_failure(error))
        if error is None or isinstance(error, Exception):
            self._flush()

    def events(self) -> Events:
        """See :meth:`riskscale.CircuitBreaker.events`; ``for`` waits for the next one."""
        if self._link is not None:
            self._link.start()
        return Events(self._replica)

    def inspect(self) -> BreakerInfo:
        """See :meth:`riskscale.CircuitBreaker.inspect`."""
        return self._replica.info() if self._link is None else self._link.read()

    def force_open(self, seconds: Duration, reason: str) -> None:
        """See :meth:`riskscale.CircuitBreaker.force_open`."""
        self._force(BreakerState.OPEN, check_force(seconds, reason), reason)

    def disable(self, seconds: Duration, reason: str) -> None:
        """See :meth:`riskscale.CircuitBreaker.disable`."""
        self._force(BreakerState.DISABLED, check_force(seconds, reason), reason)

    def metrics_only(self, seconds: Duration, reason: str) -> None:
        """See :meth:`riskscale.CircuitBreaker.metrics_only`."""
        self._force(BreakerState.METRICS_ONLY, check_force(seconds, reason), reason)

    def reset(self, reason: str) -> None:
        """See :meth:`riskscale.CircuitBreaker.reset`."""
        check_reason(reason)
        self._force(BreakerState.CLOSED, 0, reason)

    def _enter(self) -> Permit:
        if self._link is not None and not self._replica.is_ready:
            self._link.refresh()
        while True:
            permit = self._admit()
            if permit is None and self._link is not None:
                permit = self._ask(self._link)
            if permit is not None:
                return permit

    def _ask(self, link: Link) -> Permit | None:
        try:
            return link.ask()
        except CircuitOpen:
            self._reject()
            raise

    def _flush(self) -> None:
        if self._link is not None and self._replica.urgent:
            self._link.flush()

    def _force(self, state: BreakerState, length_us: int, reason: str) -> None:
        if self._link is None:
            self._replica.force(state, length_us, reason)
        else:
            self._link.force(state, length_us, reason)
