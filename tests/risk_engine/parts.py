"""Events and parts for the tests of the example service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from risk_engine.audit import InMemoryAudit
from risk_engine.costs import InMemoryCosts
from risk_engine.events import Assessment, Event
from risk_engine.model import RuleModel
from risk_engine.profiles import InMemoryProfiles
from risk_engine.publisher import InMemoryPublisher
from risk_engine.scoring import Features, Score
from risk_engine.service import EventService, Protection, Unprotected
from risk_engine.state import InMemoryStateStore
from risk_engine.workflow import Direct, RiskWorkflow


class Counted:
    """A collector that adds up."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}

    def increment(self, name: str, value: float = 1, /, **labels: Any) -> None:
        self.totals[name] = self.totals.get(name, 0) + value

    def observe(self, name: str, value: float, /, **labels: Any) -> None: ...
    def gauge(self, name: str, value: float, /, **labels: Any) -> None: ...


def event(event_id: str = "e-1", **changes: Any) -> Event:
    """A harmless one, a minute ago."""
    fields: dict[str, Any] = {
        "event_id": event_id, "amount": "12.50", "country": "SE", "merchant": "bookshop", "device": "d-1",
        "timestamp": datetime.now(UTC) - timedelta(minutes=1),
    }  # fmt: skip
    return Event(**(fields | changes))


class FlakyPublisher(InMemoryPublisher):
    """Raises so many times, before or after it has sent."""

    def __init__(self, before: int = 0, after: int = 0, reset: Exception | None = None) -> None:
        super().__init__()
        self.before, self.after, self.reset = before, after, reset or ConnectionError("reset")

    async def publish(self, assessment: Assessment, *, redelivery: bool) -> str:
        if self.before:
            self.before -= 1
            raise ConnectionError("refused")
        name = await super().publish(assessment, redelivery=redelivery)
        if self.after:
            self.after -= 1
            raise self.reset
        return name


class FlakyModel(RuleModel):
    """Calls ``trouble`` first."""

    def __init__(self, trouble: Callable[[], Awaitable[None]]) -> None:
        self.trouble = trouble

    async def assess(self, event: Event, features: Features) -> Score:
        await self.trouble()
        return await super().assess(event, features)


@dataclass(kw_only=True)
class Fakes:
    """The service with everything in this process."""

    protection: Protection = field(default_factory=Unprotected)
    publisher: Any = field(default_factory=InMemoryPublisher)
    model: Any = field(default_factory=RuleModel)
    audit: Any = field(default_factory=InMemoryAudit)
    store: Any = field(default_factory=InMemoryStateStore)
    costs: Any = field(default_factory=InMemoryCosts)
    profiles: Any = field(default_factory=InMemoryProfiles)
    metrics: Any = field(default_factory=Counted)
    model_breaker: Any = field(default_factory=Direct)
    publisher_breaker: Any = field(default_factory=Direct)

    @property
    def service(self) -> EventService:
        workflow = RiskWorkflow(
            store=self.store, profiles=self.profiles, model=self.model, publisher=self.publisher, audit=self.audit,
            costs=self.costs, metrics=self.metrics, model_breaker=self.model_breaker,
            publisher_breaker=self.publisher_breaker, model_seconds=0.2, publish_seconds=0.2,
        )  # fmt: skip
        return EventService(protection=self.protection, store=self.store, workflow=workflow, metrics=self.metrics)
