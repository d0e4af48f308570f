"""The HTTP API in this process, on everything that really runs: wrong requests, health, metrics, results, the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from risk_engine.app import create_app
from risk_engine.settings import Settings
from risk_engine.wiring import Engine, running

PAYMENT = {
    "event_id": "e-1", "amount": "12.50", "country": "SE", "merchant": "bookshop", "device": "d-1",
    "timestamp": datetime.now(UTC).isoformat(),
}  # fmt: skip
ACME = {"X-Tenant": "acme", "Content-Type": "application/json"}


@pytest.fixture
def settings(prefix: str, tmp_path: Path) -> Settings:
    return Settings(key_prefix=prefix, audit_path=tmp_path / "audit.sqlite3", partitions=2, rate_limit="100/second")


@pytest.fixture
async def engine(service_client: Any, settings: Settings) -> AsyncIterator[Engine]:
    async with running(settings, client=service_client) as engine:
        yield engine


@pytest.fixture
async def api(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def already() -> AsyncIterator[Engine]:
        yield engine

    app = create_app(already, 2000)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://risk") as api:
        yield api


async def test_an_event_is_assessed_found_and_replayed_byte_for_byte(api: httpx.AsyncClient, engine: Engine) -> None:
    first = await api.post("/events", json=PAYMENT, headers=ACME)
    assert (first.status_code, first.headers["Location"]) == (201, "/events/e-1")
    assert first.json() == {
        "tenant_id": "acme", "event_id": "e-1", "decision": "approve", "score": 0, "reasons": [],
    }  # fmt: skip
    again = await api.post("/events", json=PAYMENT, headers=ACME)
    assert (again.status_code, again.content, again.headers["Idempotent-Replayed"]) == (201, first.content, "true")
    assert (await api.get("/events/e-1", headers=ACME)).json() == first.json()
    assert [entry.event_id for entry in await engine.audit.entries("acme")] == ["e-1"]
    assert await engine.costs.spent("acme") == 25


async def test_a_tenant_that_is_named_twice_is_nobody(api: httpx.AsyncClient) -> None:
    """A gateway that adds its header to the client's own, and does not replace it."""
    twice = [("X-Tenant", "globex"), ("X-Tenant", "acme")]
    sent = await api.post("/events", json=PAYMENT, headers=twice)
    for response in (sent, await api.get("/events/e-1", headers=twice)):
        assert response.status_code == 422
        assert response.json()["errors"] == [{"field": "X-Tenant", "message": "must be there once"}]
        assert response.json()["tenant_id"] is None


async def test_the_same_amount_is_the_same_event_however_it_is_written(api: httpx.AsyncClient) -> None:
    first = await api.post("/events", json=PAYMENT | {"amount": "12.50"}, headers=ACME)
    for amount in ("12.5", 12.5):
        again = await api.post("/events", json=PAYMENT | {"amount": amount}, headers=ACME)
        assert (again.status_code, again.content) == (201, first.content)
        assert "Idempotent-Replayed" in again.headers


async def test_a_tenant_sees_nothing_of_another(api: httpx.AsyncClient, engine: Engine) -> None:
    await api.post("/events", json=PAYMENT, headers=ACME)
    hostile = ["acme:workflow", "{acme}", "acme%3A", "a" * 128, "acmé", "*", "../acme", "acme\t"[:4] + "e"]
    for tenant in hostile:
        stranger = {b"X-Tenant": tenant.encode()}
        found = await api.get("/events/e-1", headers=stranger)
        assert (found.status_code, found.json()["tenant_id"]) == (404, tenant), tenant
        created = await api.post("/events", json=PAYMENT | {"amount": "13"}, headers=stranger)
        assert (created.status_code, created.json()["tenant_id"]) == (201, tenant)
        assert "Idempotent-Replayed" not in created.headers
        assert len(await engine.audit.entries(tenant)) == 1
    assert len(await engine.audit.entries("acme")) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": "-1"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "1.005"}, "amount"),
        ({"amount": 1e400}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1e2"}, "amount"),
        ({"amount": "1\n"}, "amount"),
        ({"amount": "1000000000"}, "amount"),
        ({"amount": 1_000_000_000}, "amount"),
        ({"amount": [1]}, "amount"),
        ({"amount": None}, "amount"),
        ({"country": "Sweden"}, "country"),
        ({"country": "se"}, "country"),
        ({"event_id": "a b"}, "event_id"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": "x" * 129}, "event_id"),
        ({"merchant": ""}, "merchant"),
        ({"device": 7}, "device"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2026-01-01T00:00:00"}, "timestamp"),
        ({"timestamp": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, "timestamp"),
        ({"timestamp": (datetime.now(UTC) - timedelta(days=366)).isoformat()}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
        ({"timestamp": "9999-12-31T23:59:59-14:00"}, "timestamp"),
        ({"extra": 1}, "extra"),
    ],
)
async def test_a_wrong_field_is_named(api: httpx.AsyncClient, changes: dict[str, Any], field: str) -> None:
    response = await api.post("/events", content=json.dumps(PAYMENT | changes), headers=ACME)
    assert (response.status_code, response.headers["Content-Type"]) == (422, "application/problem+json")
    body = response.json()
    assert (body["class"], body["tenant_id"], [each["field"] for each in body["errors"]]) == (
        "VALIDATION_ERROR", "acme", [field],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "status", "word"),
    [
        ({"content": b"{", "headers": ACME}, 400, "JSON"),
        ({"content": b"\xff", "headers": ACME}, 400, "body"),
        ({"content": b"[" * 1500, "headers": ACME}, 400, "body"),
        ({"content": b'{"amount": ' + b"9" * 1900 + b"}", "headers": ACME}, 422, "amount"),
        ({"content": b'{"merchant": "\\ud800"}', "headers": ACME}, 422, "merchant"),
        ({"content": b"", "headers": ACME}, 422, "body"),
        ({"json": [], "headers": ACME}, 422, "body"),
        ({"json": PAYMENT}, 422, "x-tenant"),
        ({"json": PAYMENT, "headers": {b"X-Tenant": b"\xff"}}, 422, "X-Tenant"),
        ({"json": PAYMENT, "headers": {"X-Tenant": "a" * 129}}, 422, "X-Tenant"),
        ({"json": PAYMENT, "headers": {"X-Tenant": ""}}, 422, "x-tenant"),
        ({"json": PAYMENT, "headers": ACME | {"Idempotency-Key": "k" * 256}}, 422, "idempotency-key"),
        ({"content": b"x" * 2001, "headers": ACME}, 413, "2000"),
    ],
)
async def test_a_malformed_request_is_the_callers_fault(
    api: httpx.AsyncClient, request_: dict[str, Any], status: int, word: str
) -> None:
    response = await api.post("/events", **request_)
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
    assert response.json()["class"] == "VALIDATION_ERROR"
    assert response.json()["tenant_id"] == ("acme" if request_.get("headers", {}).get("X-Tenant") == "acme" else None)
    assert word in json.dumps(response.json()["errors"]), "the field is named"


async def test_a_body_without_a_length_is_bounded_as_well(api: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 500

    response = await api.post("/events", content=endless(), headers=ACME)
    assert (response.status_code, response.json()["tenant_id"]) == (413, "acme")


async def test_what_is_not_there(api: httpx.AsyncClient) -> None:
    for method, path, status in [
        ("GET", "/events/none", 404), ("GET", "/nowhere", 404), ("DELETE", "/events", 405), ("GET", "/health/x", 404),
    ]:  # fmt: skip
        for tenant, named in [("acmé", "acmé"), ("a" * 129, None), ("", None)]:
            response = await api.request(method, path, headers={b"X-Tenant": tenant.encode()})
            assert response.headers["Content-Type"] == "application/problem+json"
            invalid = named is None and path == "/events/none"
            assert (response.status_code, response.json()["tenant_id"]) == (422 if invalid else status, named)


async def test_health_and_metrics(api: httpx.AsyncClient, engine: Engine) -> None:
    await api.post("/events", json=PAYMENT, headers=ACME)
    ready = await api.get("/health")
    assert (ready.status_code, ready.headers["Content-Type"]) == (200, "application/health+json")
    assert ready.json()["status"] == "pass"
    assert (await api.get("/health/live")).json()["status"] == "pass"
    await engine.breakers[0].force_open(60, "they are moving house")
    warned = await api.get("/health/ready")
    assert warned.status_code == 200
    page = (await api.get("/metrics")).text
    assert 'riskscale_risk_events_total{outcome="assessed"} 1.0' in page
    assert "riskscale_risk_model_cost_total 25.0" in page
    assert "riskscale_rate_decisions_total" in page


async def test_many_ask_for_health_at_once(api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(api.get("/health/ready") for _ in range(200)))
    assert {answer.status_code for answer in answers} == {200}


async def test_results_become_cases_and_leave_the_streams(
    api: httpx.AsyncClient, engine: Engine, service_client: Any, prefix: str
) -> None:
    for number, amount in enumerate(("10", "20000"), 1):
        payment = PAYMENT | {"event_id": f"e-{number}", "amount": amount, "country": "IR"}
        assert (await api.post("/events", json=payment, headers=ACME)).status_code == 201
    cases = f"{prefix}risk:{{acme}}:cases"
    async with asyncio.timeout(30):
        while await service_client.hkeys(cases) != [b"e-2"] or any(
            [await service_client.xlen(f"{prefix}risk:results:{partition}") for partition in range(2)]
        ):
            await asyncio.sleep(0.01)


async def test_the_end_drains_and_gives_everything_back(service_client: Any, settings: Settings) -> None:
    from tests.risk_engine.parts import FlakyModel, event

    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await go_on.wait()

    async with running(settings, client=service_client, model=FlakyModel(slow)) as engine:
        working = asyncio.create_task(engine.service.create_event("acme", event()))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert not (await working).replayed
    left = await service_client.keys(f"{settings.key_prefix}rs1:*:lock")
    assert [await service_client.hget(key, "owner") for key in left] == [None] * len(left)
    async with running(settings, client=service_client) as engine:
        assert (await engine.service.find("acme", "e-1")) is not None
