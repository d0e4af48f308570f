"""What the HTTP layer calls: one event in, one assessment out, with all protections in their order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from risk_engine.errors import IdempotencyConflictError, InProgressError, classify
from risk_engine.events import Assessment, Event
from risk_engine.state import StateStore
from risk_engine.workflow import RiskWorkflow, same_event
from riskscale import (
    BulkheadExecutor,
    IdempotencyConflict,
    IdempotencyGuard,
    Lock,
    MetricsCollector,
    RateLimiter,
    RateLimitExceeded,
)

Work = Callable[[], Awaitable[bytes]]


class Observe(Protocol):
    """Of a request: how long it took, and whether the service failed."""

    def __call__(self, latency: float, *, failed: bool = False) -> None: ...


def unobserved(latency: float, *, failed: bool = False) -> None:
    """Nobody wants to know."""


class Fenced(Protocol):
    """Who works on an event; a later one has a higher fence."""

    @property
    def fence(self) -> int: ...


class Unfenced:
    """Anybody."""

    fence = 0


class Protection(Protocol):
    """What stands around the work on an event. In this order: a request that is refused has cost no more than that."""

    async def admit(self, tenant: str) -> None:
        """RateLimitExceeded where the tenant's limit is used up."""
        ...

    async def once(self, tenant: str, key: str, event: Event, work: Work) -> bytes:
        """The work's result, or that of who did it before under this key."""
        ...

    async def in_turn(self, tenant: str, work: Work) -> bytes:
        """The work, when one of the replica's places is free."""
        ...

    def alone(self, tenant: str, event_id: str) -> AbstractAsyncContextManager[Fenced]:
        """Nobody else works on the event meanwhile."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """By riskscale."""

    hub: Any
    limiter: RateLimiter
    guard: IdempotencyGuard
    bulkhead: BulkheadExecutor
    lock_ttl: float = 10.0
    wait_seconds: float = 5.0

    async def admit(self, tenant: str) -> None:
        decision = await self.limiter.hit(tenant)
        if not decision:
            raise RateLimitExceeded(tenant, decision.limit.label, decision.retry_after)

    async def once(self, tenant: str, key: str, event: Event, work: Work) -> bytes:
        try:
            return await self.guard.run(tenant, key, event.fingerprint, lambda _: work(), wait=self.wait_seconds)
        except IdempotencyConflict as error:
            if error.reason == "in_progress":
                raise InProgressError(str(error), error.retry_after) from error
            raise IdempotencyConflictError(str(error)) from error

    async def in_turn(self, tenant: str, work: Work) -> bytes:
        return await self.bulkhead.submit_for(tenant, work)

    def alone(self, tenant: str, event_id: str) -> AbstractAsyncContextManager[Fenced]:
        lock = Lock(self.hub, f"workflow:{event_id}", ttl=self.lock_ttl, tag=tenant)
        return lock.hold(timeout=self.wait_seconds)


class Unprotected:
    """By nothing: what the protections cost is measured beside it."""

    async def admit(self, tenant: str) -> None: ...

    async def once(self, tenant: str, key: str, event: Event, work: Work) -> bytes:
        return await work()

    async def in_turn(self, tenant: str, work: Work) -> bytes:
        return await work()

    def alone(self, tenant: str, event_id: str) -> AbstractAsyncContextManager[Fenced]:
        return nullcontext(Unfenced())


@dataclass(frozen=True, slots=True)
class Created:
    """The response's body, byte for byte the same for a repeat; whether it was one."""

    body: bytes
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventService:
    """The use cases. ``observe(seconds, failed=)`` hears of every request: what the fleet is scaled by."""

    protection: Protection
    store: StateStore
    workflow: RiskWorkflow
    metrics: MetricsCollector
    observe: Observe = unobserved

    async def create_event(self, tenant: str, event: Event, key: str | None = None) -> Created:
        """Assess an event, once for its key.

        Args:
            tenant: who sends it.
            event: what it says.
            key: the client's idempotency key; None: the event's id.

        Raises:
            What :func:`risk_engine.errors.classify` knows. After any of them the event may be sent again, with the
            same key: what was done is not done again, what was not is done.
        """
        worked = False

        async def work() -> bytes:
            nonlocal worked
            worked = True
            return await self.protection.in_turn(tenant, lambda: self._assess(tenant, event))

        outcome, failed, began = "assessed", False, time.perf_counter()
        try:
            await self.protection.admit(tenant)
            body = await self.protection.once(tenant, key or event.event_id, event, work)
            outcome = outcome if worked else "replayed"
        except Exception as error:
            failure = classify(error)
            outcome, failed = failure.kind.lower(), failure.status >= 500
            raise
        finally:
            self.metrics.increment("risk_events", outcome=outcome)
            self.observe(time.perf_counter() - began, failed=failed)
        return Created(body, not worked)

    async def find(self, tenant: str, event_id: str) -> Assessment | None:
        """The assessment of a tenant's event, or None: there is none (yet)."""
        state = await self.store.get(tenant, event_id)
        return state.assessment if state else None

    async def _assess(self, tenant: str, event: Event) -> bytes:
        async with self.protection.alone(tenant, event.event_id) as held:
            state = await self.store.claim(tenant, event, held.fence)
            same_event(state, event.fingerprint)
            state = await self.workflow.run(state)
        return state.result.model_dump_json().encode()
