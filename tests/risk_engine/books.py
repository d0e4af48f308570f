"""What must be true of the books, whatever happened: nothing lost, nothing twice unmarked, nobody else's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from risk_engine.audit import AuditEntry
from risk_engine.events import Assessment

Name = tuple[str, str]
"""A tenant and an event's id."""


@dataclass(slots=True)
class Books:
    """``sent``: the messages in the order of their streams, and whether each is marked as a redelivery."""

    sent: list[tuple[Name, bool]] = field(default_factory=list)
    audited: dict[str, list[AuditEntry]] = field(default_factory=dict)

    def violations(self, accepted: Iterable[Name]) -> list[str]:
        """What is wrong with them, if those events were accepted."""
        marks: Mapping[Name, list[bool]] = defaultdict(list)
        for name, redelivery in self.sent:
            marks[name].append(redelivery)
        entries = Counter((tenant, entry.event_id) for tenant, found in self.audited.items() for entry in found)
        found = []
        for name in set(accepted):
            if not marks.get(name):
                found.append(f"{name} was accepted and never published")
            if entries[name] != 1:
                found.append(f"{name} was accepted and has {entries[name]} audit entries")
        found += [
            f"{name} was published twice without its mark" for name, marked in marks.items() if marked.count(False) > 1
        ]
        found += [
            f"{entry.event_id} of {entry.tenant_id} stands in the log of {tenant}"
            for tenant, entries_ in self.audited.items()
            for entry in entries_
            if entry.tenant_id != tenant
        ]
        found += [f"{name} is in the audit log and was never published" for name in entries if name not in marks]
        return found


async def books_of(client: Any, prefix: str, audit: Any, tenants: Sequence[str], partitions: int) -> Books:
    """Of a service whose results nobody has consumed."""
    books = Books(audited={tenant: await audit.entries(tenant) for tenant in tenants})
    for partition in range(partitions):
        for _, fields in await client.xrange(f"{prefix}risk:results:{partition}"):
            assessment = Assessment.model_validate_json(fields[b"assessment"])
            name = (fields[b"tenant_id"].decode(), fields[b"event_id"].decode())
            assert name == (assessment.tenant_id, assessment.event_id)
            books.sent.append((name, fields[b"redelivery"] == b"1"))
    return books
