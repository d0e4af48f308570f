"""Bulkheads for threads; see :mod:`riskscale.bulkhead`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Unpack

from riskscale._core.call import Flow
from riskscale._core.durations import Duration, seconds
from riskscale._core.keys import check_name
from riskscale.bulkhead.adaptive import AdaptiveLimit
from riskscale.bulkhead.base import BaseExecutor, BulkheadStatus, check_task, closed
from riskscale.bulkhead.gate import Ticket
from riskscale.bulkhead.places import Places
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.semaphore.spec import SemaphoreSpec
from riskscale.sync.hub import hub_of
from riskscale.sync.lease import Lease
from riskscale.sync.semaphore import Weighted
from riskscale.typing import MetricsCollector

R = TypeVar("R")


class BulkheadExecutor(BaseExecutor):
    """At most ``max_concurrent`` threads run at once, at most ``max_queued`` more wait; see
    :class:`riskscale.BulkheadExecutor`. It has no threads of its own: what is submitted runs in the caller's."""

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
        self._changed = threading.Condition()

    def submit(self, task: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """See :meth:`riskscale.BulkheadExecutor.submit`; ``task`` is a plain function."""
        return self._submit("", task, args, kwargs)

    def submit_for(self, tenant: str, task: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
        """See :meth:`riskscale.BulkheadExecutor.submit_for`."""
        return self._submit(check_name(tenant, "tenant"), task, args, kwargs)

    def close(self, timeout: Duration | None = None) -> None:
        """Refuse whoever comes from now on, and wait for those that run and wait, for ``timeout`` seconds (None: for
        ever). Those that wait then get StateError; those that run go on, because a thread cannot be cancelled.

        Raises:
            StateError: called by what runs in it.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        with self._changed:
            self._refuse_inside(threading.current_thread())
            self._closed = True
            if self._changed.wait_for(lambda: self._is_idle, limit):
                return
            for ticket in self._gate.waiters():
                ticket.cut = True
                ticket.turn.set()
            self._changed.wait_for(lambda: not self._gate.waiting)

    def __enter__(self) -> BulkheadExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, tenant: str, task: Callable[..., R], args: Any, kwargs: Any) -> R:
        check_task(task)
        with self._changed:
            ticket = self._enter(tenant)
            ticket.by = threading.current_thread()
            ticket.turn = None if ticket.runs else threading.Event()
        began: float | None = None
        failure: BaseException | None = None
        try:
            if ticket.turn is not None:
                self._turn(ticket)
            began = self._monotonic()
            return task(*args, **kwargs)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._end(ticket, began, failure)

    def _end(self, ticket: Ticket, began: float | None, failure: BaseException | None) -> None:
        with self._changed:
            for each in self._leave(ticket, began, failure):
                each.turn.set()
            if self._closed:
                self._changed.notify_all()

    def _turn(self, ticket: Ticket) -> None:
        began = self._monotonic()
        is_told = ticket.turn.wait(self._wait)
        self._waited(self._monotonic() - began)
        if ticket.cut:
            raise closed(self._name)
        if not is_told:
            raise self._timeout()


class SharedBulkhead(Weighted):
    """At most ``limit`` run at once in all processes together, for a blocking client; see
    :class:`riskscale.SharedBulkhead`."""

    _kind = "bulkhead"

    def __init__(
        self,
        client: Any,
        name: str,
        limit: int,
        max_queued: int,
        *,
        ttl: Duration = 30,
        wait: Duration | None = None,
        tag: str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        hub = hub_of(client)
        spec = SemaphoreSpec.of_bulkhead(name, hub.key(name, tag), limit, max_queued, ttl, metadata)
        self._places = Places(hub, spec)
        self._spec = spec
        super().__init__(hub, name, wait, Terms.of(hub, **LeaseTerms(auto_renew=True) | terms))

    def submit(self, task: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """See :meth:`riskscale.SharedBulkhead.submit`; ``task`` is a plain function."""
        return self._submit(1, task, args, kwargs)

    def submit_weighing(self, weight: int, task: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
        """:meth:`submit` of a task that takes up ``weight`` of the limit, in place of 1."""
        return self._submit(weight, task, args, kwargs)

    def resize(self, limit: int, max_queued: int | None = None) -> None:
        """See :meth:`riskscale.SharedBulkhead.resize`."""
        self._spec = self._places.resize(limit, max_queued)
        self._hub.mailbox.wake()

    def status(self) -> BulkheadStatus:
        """How full it is, in all processes together; one round trip."""
        return self._places.status(self.inspect(0))

    def _acquire(self, timeout: float | None, weight: int = 1) -> Flow[Lease | None]:
        return self._places.enter(timeout, weight, self._lease, self._terms.replicas)

    def _submit(self, weight: int, task: Callable[..., R], args: Any, kwargs: Any) -> R:
        check_task(task)
        results: list[R] = []
        try:
            with self._acquired(self._acquire(self._wait, weight), self._wait):
                results.append(task(*args, **kwargs))
        except Exception as error:
            if not results:
                raise
            self._places.ended_without(error)
        return results[0]
