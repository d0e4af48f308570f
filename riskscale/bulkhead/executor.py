"""The bulkhead of one process, for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from riskscale._core.durations import Duration, seconds
from riskscale._core.keys import check_name
from riskscale.bulkhead.adaptive import AdaptiveLimit
from riskscale.bulkhead.base import BaseExecutor, check_task, closed
from riskscale.bulkhead.gate import Ticket
from riskscale.errors import StateError
from riskscale.typing import MetricsCollector

R = TypeVar("R")


class BulkheadExecutor(BaseExecutor):
    """At most ``max_concurrent`` run at once in this process, at most ``max_queued`` more wait; the next is refused.

    Args:
        max_concurrent: how many may run; 1 to 1,000,000, or an :class:`riskscale.AdaptiveLimit`, which finds it.
        max_queued: how many may wait; 0: none.
        name: for metrics, errors and health.
        wait: seconds that one waits before AcquireTimeout; None: until its turn.
        tenant_concurrent: how many of one tenant may run; None: as many as of all.
        tenant_queued: how many of one tenant may wait; None: as many as of all.
        metrics: gets ``bulkhead_running``, ``bulkhead_waiting``, ``bulkhead_limit`` at each change,
            ``bulkhead_rejected``, and ``bulkhead_wait_seconds`` of those that waited; labelled ``bulkhead``.

    Raises:
        ArgumentError: an argument is out of range.

    Those who wait are served in order of arrival. With either ``tenant_...``, tenants take turns (see
    :meth:`submit_for`). What runs must not submit to the bulkhead in which it runs: it may wait for itself.
    """

    def __init__(
        self,
        max_concurrent: int | AdaptiveLimit,
        max_queued: int,
        *,
        name: str = "default",
        wait: Duration | None = None,
        tenant_concurrent: int | None = None,
        tenant_queued: int | None = None,
        metrics: MetricsCollector | None = None,
    ) -> None:
        super().__init__(max_concurrent, max_queued, name, wait, tenant_concurrent, tenant_queued, metrics)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None

    @overload
    async def submit(self, task: Callable[..., Awaitable[R]], *args: Any, **kwargs: Any) -> R: ...
    @overload
    async def submit(self, task: Callable[..., R], *args: Any, **kwargs: Any) -> R: ...
    async def submit(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``task`` with these arguments when its turn comes, in the caller's own task; what it returns.

        Args:
            task: a function, or a coroutine function.

        Raises:
            BulkheadFull: as many run and wait as may; ``task`` was not called.
            AcquireTimeout: its turn did not come within ``wait`` seconds; ``task`` was not called.
            StateError: the bulkhead is closed, or in use in another event loop.
            Whatever ``task`` raises.
        """
        return await self._submit("", task, args, kwargs)

    @overload
    async def submit_for(self, tenant: str, task: Callable[..., Awaitable[R]], /, *args: Any, **kwargs: Any) -> R: ...
    @overload
    async def submit_for(self, tenant: str, task: Callable[..., R], /, *args: Any, **kwargs: Any) -> R: ...
    async def submit_for(self, tenant: str, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """:meth:`submit` on behalf of ``tenant`` (any text), whose share counts where the bulkhead has shares.

        Never more than ``tenant_concurrent`` of one tenant run and ``tenant_queued`` wait: more are refused with
        BulkheadFull, whoever else is there. Before the first that waits of a tenant that may run more, every other
        tenant is served once at the most.
        """
        return await self._submit(check_name(tenant, "tenant"), task, args, kwargs)

    async def close(self, timeout: Duration | None = None) -> None:
        """Refuse whoever comes from now on, and wait for those that run and wait, for ``timeout`` seconds (None: for
        ever). What is left then is cut short: those that run are cancelled, and their callers, like those that wait,
        get StateError. It returns when all have ended. Closing twice waits again.

        Raises:
            StateError: called by what runs in it.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        self._refuse_inside(asyncio.current_task())
        self._closed = True
        try:
            async with asyncio.timeout(limit):
                await self._quiet()
        except TimeoutError:
            self._cut()
            await self._quiet()

    async def __aenter__(self) -> BulkheadExecutor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _submit(self, tenant: str, task: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        check_task(task)
        self._check_loop()
        ticket = self._enter(tenant)
        ticket.by = asyncio.current_task()
        ticket.cancels = ticket.by.cancelling()
        began: float | None = None
        failure: BaseException | None = None
        try:
            if not ticket.runs:
                await self._turn(ticket)
            began = self._monotonic()
            result = task(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        except BaseException as error:
            failure = error
            raise
        finally:
            self._end(ticket, began, failure)

    def _end(self, ticket: Ticket, began: float | None, failure: BaseException | None) -> None:
        for each in self._leave(ticket, began, failure):
            if not each.turn.done():  # one that is being cancelled passes it on
                each.turn.set_result(None)
        if self._ended is not None:
            self._ended.set()
        if ticket.cut and ticket.by.uncancel() <= ticket.cancels and isinstance(failure, asyncio.CancelledError):
            raise closed(self._name) from failure

    async def _turn(self, ticket: Ticket) -> None:
        began = self._monotonic()
        ticket.turn = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._wait):
                await ticket.turn
        except TimeoutError:
            raise self._timeout() from None
        finally:
            self._waited(self._monotonic() - began)

    async def _quiet(self) -> None:
        self._ended = self._ended or asyncio.Event()
        while not self._is_idle:
            self._ended.clear()
            await self._ended.wait()

    def _cut(self) -> None:
        for ticket in (*self._gate.running, *self._gate.waiters()):
            ticket.cut = ticket.cut or ticket.by.cancel()

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if not self._is_idle:
                raise StateError(f"bulkhead {self._name!r} is in use in another event loop")
            self._loop, self._ended = loop, None
