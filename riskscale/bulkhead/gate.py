"""Who runs, who waits and who is refused: the one place that counts, for tasks and for threads.

No clock, no lock and no waiting is in it. Whoever comes gets a :class:`Ticket` that runs, or waits until it is among
those that :meth:`Gate.leave` gives back; and gives it back itself, once, whether it ran or not.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from riskscale.bulkhead.adaptive import AdaptiveLimit
from riskscale.errors import BulkheadFull


class Ticket:
    """One submission."""

    __slots__ = ("by", "cancels", "cut", "in_flight", "runs", "tenant", "turn")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.runs = False
        self.in_flight = 0
        """How many ran when it began, itself included."""
        # The facade's own: its task or thread, how often that had been cancelled, whether we did, what it waits for.
        self.by: Any = None
        self.cancels = 0
        self.cut = False
        self.turn: Any = None


class Gate:
    """At most ``limit`` run and ``max_queued`` wait.

    Those who wait are served in order of arrival; with shares, tenants in turn and each tenant's own in order. While
    anybody who may run waits, no place is free: so nobody passes by coming at the right moment.
    """

    def __init__(
        self, name: str, limit: int | AdaptiveLimit, max_queued: int, tenant_concurrent: int, tenant_queued: int | None
    ) -> None:
        self._name = name
        self._limit = limit
        self._max_queued = max_queued
        self._tenant_concurrent = tenant_concurrent
        self._tenant_queued = tenant_queued
        """None: all stand in one line, whoever they are."""
        self.running: set[Ticket] = set()
        self.waiting = 0
        self._runs_of: dict[str, int] = {}
        self._lines: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        """Never an empty one; the tenant whose turn is next comes first."""

    @property
    def limit(self) -> int:
        """How many may run now."""
        return self._limit if isinstance(self._limit, int) else self._limit.limit

    def enter(self, tenant: str) -> Ticket:
        """A ticket that runs or waits; BulkheadFull where it can do neither."""
        ticket = Ticket("" if self._tenant_queued is None else tenant)
        if len(self.running) < self.limit and self._may_run(ticket.tenant):
            self._start(ticket)
            return ticket
        if self.waiting >= self._max_queued:
            raise BulkheadFull(name=self._name)
        line = self._lines.get(ticket.tenant, ())
        if self._tenant_queued is not None and len(line) >= self._tenant_queued:
            raise BulkheadFull(f"Bulkhead: tenant {tenant!r} has its share", name=self._name)
        self._lines.setdefault(ticket.tenant, OrderedDict())[ticket] = None
        self.waiting += 1
        return ticket

    def leave(self, ticket: Ticket, seconds: float | None = None) -> list[Ticket]:
        """It ended, after so many ``seconds`` where they tell how fast calls are, or gave up; those that run now."""
        if ticket.runs:
            self.running.discard(ticket)
            self._runs_of[ticket.tenant] -= 1
            if not self._runs_of[ticket.tenant]:
                del self._runs_of[ticket.tenant]
            if seconds is not None and isinstance(self._limit, AdaptiveLimit):
                self._limit.update(seconds, ticket.in_flight)
        else:
            self._take(ticket)
        started = []
        while self.waiting and len(self.running) < self.limit and (following := self._next()) is not None:
            self._take(following)
            self._start(following)
            started.append(following)
        return started

    def waiters(self) -> list[Ticket]:
        """All that wait."""
        return [ticket for line in self._lines.values() for ticket in line]

    def _may_run(self, tenant: str) -> bool:
        return self._runs_of.get(tenant, 0) < self._tenant_concurrent

    def _next(self) -> Ticket | None:
        for tenant, line in self._lines.items():
            if self._may_run(tenant):
                self._lines.move_to_end(tenant)
                return next(iter(line))
        return None

    def _take(self, ticket: Ticket) -> None:
        line = self._lines[ticket.tenant]
        del line[ticket]
        self.waiting -= 1
        if not line:
            del self._lines[ticket.tenant]

    def _start(self, ticket: Ticket) -> None:
        ticket.runs = True
        self.running.add(ticket)
        self._runs_of[ticket.tenant] = self._runs_of.get(ticket.tenant, 0) + 1
        ticket.in_flight = len(self.running)
