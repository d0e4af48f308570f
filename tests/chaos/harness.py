"""Clients that insist, and what they were told meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from risk_engine.errors import FailureClass, classify
from risk_engine.events import Event
from risk_engine.gathering import GatheringRedis
from risk_engine.settings import Settings
from risk_engine.wiring import Engine, running

from tests.risk_engine.books import Name, books_of
from tests.risk_engine.parts import event

PATIENCE = 60.0
TENANTS = ("acme", "globex")
PARTITIONS = 2


@dataclass(slots=True)
class Told:
    """``failures``: the classes of all that failed, in between."""

    accepted: list[Name] = field(default_factory=list)
    failures: Counter[FailureClass] = field(default_factory=Counter)


async def insist(engine: Engine, told: Told, tenant: str, event: Event) -> None:
    """Send it again until it is accepted, as a client would. A failure that has no class fails the test."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await engine.service.create_event(tenant, event)
            except Exception as error:
                failure = classify(error)
                if failure.kind is FailureClass.INTERNAL_ERROR:
                    raise
                told.failures[failure.kind] += 1
                await asyncio.sleep(0.05)
            else:
                told.accepted.append((tenant, event.event_id))
                return


async def insist_on_all(engines: Iterable[Engine], told: Told, events: Iterable[Event], at_once: int = 8) -> None:
    """These events of each tenant, sent to the engines in turn."""
    engines = list(engines)
    waiting = iter([(tenant, each) for each in events for tenant in TENANTS])

    async def client(number: int) -> None:
        for tenant, payment in waiting:
            await insist(engines[number % len(engines)], told, tenant, payment)

    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(client(number))


def payments(many: int) -> list[Event]:
    """That many."""
    return [event(f"e-{number}") for number in range(many)]


def settings(url: str | None, folder: Path, **changes: Any) -> Settings:
    """Of a service that recovers quickly, and whose results are left where they are."""
    chosen: dict[str, Any] = {
        "redis_url": url, "audit": "redis", "audit_path": folder / "audit.sqlite3", "partitions": PARTITIONS,
        "consume": False, "rate_limit": "100000/second", "lock_seconds": 1.0, "wait_seconds": 0.5,
        "open_seconds": 0.3, "publish_seconds": 0.5,
    }  # fmt: skip
    return Settings(**(chosen | changes))


@asynccontextmanager
async def embedded(
    folder: Path, client: Any = None, changes: Mapping[str, Any] = MappingProxyType({}), **parts: Any
) -> AsyncIterator[Engine]:
    """The engine on an embedded server; ``changes`` are settings."""
    async with running(settings(None, folder, **changes), client=client, **parts) as engine:
        yield engine


@asynccontextmanager
async def on_server(
    url: str, folder: Path, changes: Mapping[str, Any] = MappingProxyType({}), **parts: Any
) -> AsyncIterator[Engine]:
    """The engine on a real one, by a client with short time-outs; ``changes`` are settings."""
    chosen = settings(url, folder, **changes)
    client = GatheringRedis.from_url(url, socket_timeout=0.3, socket_connect_timeout=0.3, retry=None)
    async with client, running(chosen, client=client, **parts) as engine:
        yield engine


async def assert_books(engine: Engine, told: Told, client: Any = None) -> None:
    """Nothing lost, nothing twice unmarked, nobody else's."""
    client = client or engine.client
    books = await books_of(client, engine.settings.key_prefix, engine.audit, TENANTS, PARTITIONS)
    assert books.violations(told.accepted) == []


async def until(condition: Callable[[], Any]) -> None:
    """Wait for it."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)
