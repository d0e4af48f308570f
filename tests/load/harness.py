"""What the load tests have in common: how much, of whom, and the books afterwards."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from risk_engine.errors import classify
from risk_engine.events import Event
from risk_engine.model import RuleModel
from risk_engine.scoring import Features, Score
from risk_engine.settings import Settings
from risk_engine.wiring import Engine, running

from tests.risk_engine.books import Name, books_of
from tests.risk_engine.parts import event

SCALE = int(os.environ.get("LOAD_SCALE", "1"))
"""How many times the small load; ``make test-load`` says 10."""
PARTITIONS = 4
NO_LIMIT = "1000000/second"


class Watched(RuleModel):
    """Counts its calls, and how many are under way: altogether, and of each tenant (an event's merchant here)."""

    def __init__(self) -> None:
        self.calls = 0
        self.running = Counter[str]()
        self.most = 0
        self.most_of_a_tenant = 0

    async def assess(self, event: Event, features: Features) -> Score:
        self.calls += 1
        self.running[event.merchant] += 1
        self.most = max(self.most, self.running.total())
        self.most_of_a_tenant = max(self.most_of_a_tenant, self.running[event.merchant])
        try:
            for _ in range(3):  # the others get on meanwhile
                await asyncio.sleep(0)
            return await super().assess(event, features)
        finally:
            self.running[event.merchant] -= 1


@asynccontextmanager
async def engine(
    url: str | None, folder: Path, model: RuleModel | None = None, **changes: Any
) -> AsyncIterator[Engine]:
    """One that leaves its results in the streams, and waits as long as it takes; ``changes`` are settings."""
    chosen: dict[str, Any] = {
        "redis_url": url, "audit": "redis", "audit_path": folder / "audit.sqlite3", "partitions": PARTITIONS,
        "consume": False, "rate_limit": NO_LIMIT, "decision_seconds": 60, "max_queued": 100_000,
        "tenant_queued": 100_000, "wait_seconds": 60,
    }  # fmt: skip
    async with running(Settings(**(chosen | changes)), model=model) as engine:
        yield engine


def names(tenants: int, events: int) -> list[Name]:
    """So many events of each tenant, the tenants in turn."""
    return [(f"tenant-{tenant}", f"e-{number}") for number in range(events) for tenant in range(tenants)]


async def send(engine: Engine, wanted: Iterable[Name]) -> dict[Name, str]:
    """All of them at the same time; what became of each: ``assessed``, or the class of its failure.

    Every result is of the event and the tenant that it was asked for.
    """
    outcomes: dict[Name, str] = {}

    async def one(tenant: str, event_id: str) -> None:
        try:
            created = await engine.service.create_event(tenant, event(event_id, merchant=tenant, device=event_id))
        except Exception as error:
            outcomes[tenant, event_id] = classify(error).kind
            return
        found = await engine.service.find(tenant, event_id)
        assert found is not None
        assert (found.tenant_id, found.event_id) == (tenant, event_id)
        assert created.body == found.model_dump_json().encode()
        outcomes[tenant, event_id] = "replayed" if created.replayed else "assessed"

    async with asyncio.TaskGroup() as group:
        for name in wanted:
            group.create_task(one(*name))
    return outcomes


async def assert_books(engine: Engine, accepted: Iterable[Name]) -> None:
    """Each accepted event was published once and audited once, for its tenant, and nothing else was."""
    by_tenant: dict[str, set[str]] = defaultdict(set)
    for tenant, event_id in accepted:
        by_tenant[tenant].add(event_id)
    books = await books_of(engine.client, engine.settings.key_prefix, engine.audit, sorted(by_tenant), PARTITIONS)
    accepted = [(tenant, each) for tenant, found in by_tenant.items() for each in found]
    assert books.violations(accepted) == []
    assert sorted(books.sent) == sorted((name, False) for name in accepted)


def samples(page: str, name: str, label: str | None = None) -> Counter[str]:
    """What a page for Prometheus says of a metric, added up by one of its labels."""
    found = Counter[str]()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels[label] if label else ""] += int(sample.value)
    return found
