"""The judge finds what it is there for."""

from __future__ import annotations

import pytest
from risk_engine.audit import AuditEntry

from tests.risk_engine.books import Books, Name

ACME: Name = ("acme", "e-1")


def entry(tenant: str = "acme", event_id: str = "e-1") -> AuditEntry:
    return AuditEntry(
        tenant_id=tenant, event_id=event_id, decision="approve", score=0, message_id="1-0", redelivery=False,
        replica="r", at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("books", "wrong"),
    [
        (Books([(ACME, False)], {"acme": [entry()]}), ""),
        (Books([(ACME, False), (ACME, True), (ACME, True)], {"acme": [entry()]}), ""),
        (Books([(ACME, True), (ACME, False)], {"acme": [entry()]}), ""),
        (Books([(ACME, False), (("acme", "e-2"), False)], {"acme": [entry()]}), ""),
        (Books([], {"acme": [entry()]}), "never published"),
        (Books([(ACME, False)], {"acme": []}), "0 audit entries"),
        (Books([(ACME, False)], {"acme": [entry(), entry()]}), "2 audit entries"),
        (Books([(ACME, False), (ACME, False)], {"acme": [entry()]}), "twice"),
        (Books([(ACME, False)], {"acme": [entry(), entry("globex", "e-9")]}), "stands in the log"),
        (Books([(ACME, False)], {"acme": [entry(), entry("acme", "e-9")]}), "never published"),
    ],
)
def test_violations(books: Books, wrong: str) -> None:
    found = books.violations([ACME])
    assert bool(found) == bool(wrong)
    assert not wrong or any(wrong in each for each in found)
