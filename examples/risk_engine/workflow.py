"""The work on one event: remember it, score it, publish the result, write the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from risk_engine.audit import AuditEntry, AuditLog
from risk_engine.costs import CostTracker
from risk_engine.errors import IdempotencyConflictError, MessagingFailureError, ModelFailureError
from risk_engine.events import Assessment
from risk_engine.model import Model
from risk_engine.profiles import Profiles
from risk_engine.publisher import Publisher
from risk_engine.scoring import Score, features
from risk_engine.state import StateStore, Step, WorkflowState
from riskscale import CircuitOpen, MetricsCollector

T = TypeVar("T")


class Caller(Protocol):
    """How a dependency is called: through its breaker, or straight."""

    async def call(self, func: Callable[[], Awaitable[T]], /) -> T: ...


class Direct:
    """Straight."""

    async def call(self, func: Callable[[], Awaitable[T]], /) -> T:
        return await func()


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskWorkflow:
    """Goes on from where the state says; every step may be repeated.

    Before the result is sent the state says PUBLISHING, and afterwards PUBLISHED. Who finds PUBLISHING does not know
    whether it was sent, and sends it as a redelivery. So no result is lost, and none comes twice without that mark.
    """

    store: StateStore
    profiles: Profiles
    model: Model
    publisher: Publisher
    audit: AuditLog
    costs: CostTracker
    metrics: MetricsCollector
    model_breaker: Caller
    publisher_breaker: Caller
    replica: str = "local"
    model_seconds: float = 1.0
    publish_seconds: float = 1.0

    async def run(self, state: WorkflowState) -> WorkflowState:
        """Do what is left to do.

        Raises:
            CircuitOpen: the model or the publisher is known to be down.
            ModelFailureError, MessagingFailureError: it failed now.
            TimeoutError: the model took too long.
            StateConflictError: a newer holder of the lock works on it.
        """
        if state.step is Step.RECEIVED:
            state = await self._score(state)
        if state.step is Step.PUBLISHING:
            state = await self._publish(state)
        await self._record(state)
        return state

    async def _score(self, state: WorkflowState) -> WorkflowState:
        event, tenant = state.event, state.tenant_id
        seen = features(event, await self.profiles.remember(tenant, event))
        called = False

        async def assess() -> Score:
            nonlocal called
            called = True
            async with asyncio.timeout(self.model_seconds):
                return await self.model.assess(event, seen)

        try:
            score = await self.model_breaker.call(assess)
        except (CircuitOpen, TimeoutError):
            raise
        except Exception as error:
            raise ModelFailureError(type(error).__name__) from error
        finally:
            if called:
                self.metrics.increment("risk_model_cost", self.model.cost)
                await self.costs.charge(tenant, self.model.cost)
        assessment = Assessment(
            tenant_id=tenant, event_id=event.event_id, decision=score.decision, score=score.points,
            reasons=score.reasons,
        )  # fmt: skip
        return state.after(step=Step.PUBLISHING, assessment=assessment)

    async def _publish(self, state: WorkflowState) -> WorkflowState:
        redelivery, called = state.redelivery, False
        await self.store.save(state.after(redelivery=True))  # for whoever finds it so

        async def send(result: Assessment = state.result) -> str:
            nonlocal called
            called = True
            async with asyncio.timeout(self.publish_seconds):
                return await self.publisher.publish(result, redelivery=redelivery)

        try:
            message_id = await self.publisher_breaker.call(send)
        except CircuitOpen:
            if not called:  # else the publisher's own breaker said so, and nobody knows when
                await self.store.save(state)
            raise
        except Exception as error:
            raise MessagingFailureError(type(error).__name__) from error
        state = state.after(step=Step.PUBLISHED, message_id=message_id)
        await self.store.save(state)
        return state

    async def _record(self, state: WorkflowState) -> None:
        await self.audit.record(
            AuditEntry(
                tenant_id=state.tenant_id,
                event_id=state.event.event_id,
                decision=state.result.decision,
                score=state.result.score,
                message_id=state.message_id,
                redelivery=state.redelivery,
                replica=self.replica,
                at=datetime.now(UTC).isoformat(),
            )
        )


def same_event(state: WorkflowState, event_json: bytes) -> None:
    """IdempotencyConflictError where the state is of another event of the same name."""
    if state.event.fingerprint != event_json:
        raise IdempotencyConflictError(f"event {state.event.event_id!r} is another one already")
