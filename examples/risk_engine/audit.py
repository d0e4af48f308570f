"""Who decided what, when: one entry an event, written after its result was published."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import aiosqlite

from risk_engine.keys import Keys


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """``at`` is ISO 8601; ``redelivery``: the message may have been sent twice."""

    tenant_id: str
    event_id: str
    decision: str
    score: int
    message_id: str
    redelivery: bool
    replica: str
    at: str


class AuditLog(Protocol):
    """The first entry of an event stays: a repeat after a crash changes nothing."""

    async def record(self, entry: AuditEntry) -> None: ...
    async def entries(self, tenant: str) -> list[AuditEntry]: ...


class InMemoryAudit:
    """For tests."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], AuditEntry] = {}

    async def record(self, entry: AuditEntry) -> None:
        self._entries.setdefault((entry.tenant_id, entry.event_id), entry)

    async def entries(self, tenant: str) -> list[AuditEntry]:
        return [entry for (of, _), entry in self._entries.items() if of == tenant]


class RedisAudit:
    """A hash a tenant. It stays until somebody who may takes it away: an audit log does not expire."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._client, self._keys = client, keys

    async def record(self, entry: AuditEntry) -> None:
        await self._client.hsetnx(self._keys.of(entry.tenant_id, "audit"), entry.event_id, json.dumps(asdict(entry)))

    async def entries(self, tenant: str) -> list[AuditEntry]:
        return [AuditEntry(**json.loads(raw)) for raw in await self._client.hvals(self._keys.of(tenant, "audit"))]


SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (
    tenant_id TEXT NOT NULL, event_id TEXT NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (tenant_id, event_id)
) WITHOUT ROWID
"""


class SqliteAudit:
    """A file of this replica, where there is no server."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def opened(cls, path: Path) -> AsyncIterator[SqliteAudit]:
        """The log in this file, which is made if need be."""
        async with aiosqlite.connect(path) as database:
            await database.execute("PRAGMA journal_mode = WAL")
            await database.execute(SCHEMA)
            await database.commit()
            yield cls(database)

    async def record(self, entry: AuditEntry) -> None:
        row = (entry.tenant_id, entry.event_id, json.dumps(asdict(entry)))
        await self._database.execute("INSERT OR IGNORE INTO audit VALUES (?, ?, ?)", row)
        await self._database.commit()

    async def entries(self, tenant: str) -> list[AuditEntry]:
        found = await self._database.execute_fetchall("SELECT entry FROM audit WHERE tenant_id = ?", (tenant,))
        return [AuditEntry(**json.loads(entry)) for (entry,) in found]
