"""What both forms of :class:`riskscale.SharedBulkhead` have in common: everything that does not wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from riskscale._core.base import BaseHub
from riskscale._core.call import Flow
from riskscale._core.durations import integer
from riskscale.bulkhead.base import BulkheadStatus
from riskscale.errors import BulkheadFull, LeaseLost
from riskscale.lease import flows
from riskscale.lease.flows import Replicas
from riskscale.lease.grant import Grant, new_token
from riskscale.semaphore.calls import SemaphoreInfo
from riskscale.semaphore.spec import MOST, MOST_QUEUED, SemaphoreSpec

L = TypeVar("L")
log = logging.getLogger("riskscale.bulkhead")


class Places:
    """The places of one shared bulkhead, as this process asks for them."""

    def __init__(self, hub: BaseHub, spec: SemaphoreSpec) -> None:
        self.spec = spec
        self._hub = hub
        self._mutex = threading.Lock()
        self._asking: dict[str, tuple[Grant, int]] = {}
        """By token: those under way to a place, and how much they weigh."""

    def enter(
        self, timeout: float | None, weight: int, lease: Callable[[Grant], L], replicas: Replicas | None
    ) -> Flow[L | None]:
        """A lease, None where it took too long; BulkheadFull where there was no room to wait."""
        began, monotonic = self._hub.monotonic(), self._hub.monotonic
        with self._mutex:
            grant = Grant(spec=self.spec.weighing(weight), token=new_token())
            self._asking[grant.token] = grant, weight
        try:
            if (yield from flows.take(grant, timeout, monotonic, replicas)):
                self._observe(monotonic() - began)
                return lease(grant)
        finally:
            with self._mutex:
                del self._asking[grant.token]
        if grant.full:
            self._count("bulkhead_rejected")
            raise BulkheadFull(name=self.spec.name)
        return None

    def resize(self, limit: int, max_queued: int | None) -> SemaphoreSpec:
        """For those who come from now on, and for those who ask already when they ask again."""
        integer(limit, "limit", 1, MOST)
        with self._mutex:
            queued = self.spec.max_queued if max_queued is None else integer(max_queued, "max_queued", 0, MOST_QUEUED)
            self.spec = replace(self.spec, limit=limit, max_queued=queued)
            for grant, weight in self._asking.values():
                grant.spec = replace(self.spec, weight=weight)
            return self.spec

    def status(self, info: SemaphoreInfo) -> BulkheadStatus:
        """What the server told, for people and for metrics."""
        status = BulkheadStatus(
            name=self.spec.name,
            running=info.sum,
            waiting=info.waiting,
            max_concurrent=self.spec.limit,
            max_queued=self.spec.max_queued or 0,
        )
        status.tell(self._hub.meter, shared="yes")
        return status

    def ended_without(self, error: Exception) -> None:
        """The task is done, but its place was not held to the end, or could not be given back: its lease sees to that.

        Its caller is not told, who has a result and would do the task again.
        """
        if isinstance(error, LeaseLost):
            self._count("bulkhead_lost")
        log.warning("bulkhead %r: a task ended well, its place: %s", self.spec.name, error)

    def _count(self, name: str) -> None:
        if self._hub.meter is not None:
            self._hub.meter.increment(name, bulkhead=self.spec.name)

    def _observe(self, seconds: float) -> None:
        if self._hub.meter is not None:
            self._hub.meter.observe("bulkhead_wait_seconds", seconds, bulkhead=self.spec.name)
