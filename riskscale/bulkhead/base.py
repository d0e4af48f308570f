"""What the asyncio bulkheads share with the blocking ones: everything that does not wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from riskscale._core.durations import Duration, integer, seconds
from riskscale._core.keys import check_name
from riskscale._core.meter import Meter
from riskscale.bulkhead.adaptive import MOST, AdaptiveLimit
from riskscale.bulkhead.gate import Gate, Ticket
from riskscale.errors import AcquireTimeout, ArgumentError, BulkheadFull, StateError
from riskscale.typing import MetricsCollector


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadStatus:
    """How full a bulkhead is.

    Attributes:
        name: of the bulkhead.
        running: how many run; of a SharedBulkhead their weights together, in all processes.
        waiting: how many wait.
        max_concurrent: how many may run now.
        max_queued: how many may wait.
    """

    name: str
    running: int
    waiting: int
    max_concurrent: int
    max_queued: int

    def tell(self, meter: Meter | None, shared: str = "no") -> None:
        """As the gauges ``bulkhead_running``, ``bulkhead_waiting`` and ``bulkhead_limit``; ``shared`` is yes where they
        are of all processes, so that nobody adds them up."""
        if meter is not None:
            meter.gauge("bulkhead_running", self.running, bulkhead=self.name, shared=shared)
            meter.gauge("bulkhead_waiting", self.waiting, bulkhead=self.name, shared=shared)
            meter.gauge("bulkhead_limit", self.max_concurrent, bulkhead=self.name, shared=shared)


class BaseExecutor:
    """See :class:`riskscale.BulkheadExecutor`."""

    def __init__(
        self,
        max_concurrent: int | AdaptiveLimit,
        max_queued: int,
        name: str,
        wait: Duration | None,
        tenant_concurrent: int | None,
        tenant_queued: int | None,
        metrics: MetricsCollector | None,
    ) -> None:
        if not isinstance(max_concurrent, AdaptiveLimit):
            integer(max_concurrent, "max_concurrent", 1, MOST)
        self._max_queued = integer(max_queued, "max_queued", 0, MOST)
        self._name = check_name(name, "name")
        self._wait = None if wait is None else seconds(wait, "wait")
        concurrent = MOST if tenant_concurrent is None else integer(tenant_concurrent, "tenant_concurrent", 1, MOST)
        queued = None if tenant_concurrent is None else max_queued
        if tenant_queued is not None:
            queued = integer(tenant_queued, "tenant_queued", 0, max_queued)
        self._gate = Gate(self._name, max_concurrent, max_queued, concurrent, queued)
        self._meter = Meter.of(metrics)
        self._monotonic = time.monotonic
        self._closed = False

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._name

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._gate.running)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._gate.waiting

    def status(self) -> BulkheadStatus:
        """How full it is."""
        return BulkheadStatus(
            name=self._name,
            running=self.running,
            waiting=self.waiting,
            max_concurrent=self._gate.limit,
            max_queued=self._max_queued,
        )

    def _enter(self, tenant: str) -> Ticket:
        if self._closed:
            raise closed(self._name)
        try:
            ticket = self._gate.enter(tenant)
        except BulkheadFull:
            if self._meter is not None:
                self._meter.increment("bulkhead_rejected", bulkhead=self._name)
            raise
        if self._meter is not None:
            self.status().tell(self._meter)
        return ticket

    def _leave(self, ticket: Ticket, began: float | None, failure: BaseException | None) -> list[Ticket]:
        """It ended by ``failure``, or well; ``began`` is None where it never ran. Those that run now."""
        tells = failure is None or isinstance(failure, TimeoutError)  # how long calls take; other errors come early
        took = self._monotonic() - began if tells and began is not None else None
        started = self._gate.leave(ticket, took)
        if self._meter is not None:
            self.status().tell(self._meter)
        return started

    def _waited(self, seconds: float) -> None:
        if self._meter is not None:
            self._meter.observe("bulkhead_wait_seconds", seconds, bulkhead=self._name)

    def _timeout(self) -> AcquireTimeout:
        return AcquireTimeout(self._name, self._wait or 0.0, what="bulkhead")

    @property
    def _is_idle(self) -> bool:
        return not self._gate.running and not self._gate.waiting

    def _refuse_inside(self, by: Any) -> None:
        if any(ticket.by is by for ticket in self._gate.running):
            raise StateError(f"bulkhead {self._name!r} must not be closed by what runs in it: it would wait for itself")

    def __repr__(self) -> str:
        full = f"{self.running}+{self.waiting} of {self._gate.limit}+{self._max_queued}"
        return f"<{type(self).__module__}.{type(self).__name__} {self._name!r} {full}>"


def closed(name: str) -> StateError:
    """What those get who come, or wait, when it has closed."""
    return StateError(f"bulkhead {name!r} is closed")


def check_task(task: Callable[..., Any]) -> None:
    """ArgumentError for what cannot be called, such as a coroutine."""
    if not callable(task):
        raise ArgumentError("task", f"must be a function, to be called with the arguments that follow, not {task!r}")
