"""What the primitives count is what the table says, and a collector that fails stops none of them."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import riskscale
import riskscale.sync
from riskscale import (
    ArgumentError,
    BulkheadExecutor,
    CircuitBreaker,
    Hub,
    InMemoryMetrics,
    Limit,
    Lock,
    RateLimiter,
    TenantRateLimiter,
)
from riskscale.metrics import METRICS, Kind
from tests.metrics.tour import ELSEWHERE, tour

METHODS = {"increment": Kind.COUNTER, "observe": Kind.HISTOGRAM, "gauge": Kind.GAUGE}


async def test_all_that_is_in_the_table_is_counted_as_it_says(client: Any, prefix: str) -> None:
    metrics = InMemoryMetrics()
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        await tour(hub, metrics)
    events = metrics.events()
    for event in events:
        metric = METRICS[event.name]
        assert event.kind is metric.kind and event.labels.keys() == metric.labels.keys(), event
        assert all(event.labels[label] in values for label, values in metric.labels.items() if values), event
    assert {event.name for event in events} == METRICS.keys() - ELSEWHERE
    waits = {(event.labels["kind"], event.labels["outcome"]) for event in metrics.events("lock_wait_seconds")}
    assert waits == {
        ("lock", "acquired"),
        ("lock", "timeout"),
        ("lock", "cancelled"),
        ("lock", "failed"),
        ("semaphore", "acquired"),
        ("election", "acquired"),
    }
    holds = sorted((event.labels["kind"], event.labels["outcome"]) for event in metrics.events("lock_hold_seconds"))
    assert holds == [
        ("bulkhead", "lost"),
        ("election", "released"),
        ("idempotency", "released"),
        ("lock", "lost"),
        *[("lock", "released")] * 3,
        ("semaphore", "released"),
    ]
    assert metrics.total("rate_limit_exceeded", tenant_id="t7") == 2


def told() -> Iterator[tuple[str, str, set[str]]]:
    """Every ``meter.increment("name", ..., label=...)`` of the package: its method, its name, its labels."""
    for path in Path(riskscale.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr=method), args=[ast.Constant(value=str(name)), *_]) if (
                    method in METHODS
                ):
                    yield method, name, {str(keyword.arg) for keyword in node.keywords}


def test_every_name_in_the_code_is_in_the_table() -> None:
    found = list(told())
    assert len(found) > 10
    for method, name, labels in found:
        assert name in METRICS and METRICS[name].kind is METHODS[method], name
        assert labels == METRICS[name].labels.keys(), name


def test_names_are_apart() -> None:
    """Neither by Prometheus' suffixes nor by OpenTelemetry's dots."""
    ends = ("", "_total", "_count", "_sum", "_bucket", "_created")
    names = [f"{name}{end}" for name in METRICS for end in ends]
    assert len(names) == len(set(names))
    dotted = [metric.otel for metric in METRICS.values()]
    assert not any(one.startswith(f"{other}.") for one in dotted for other in dotted), "a name, and a name space"


@pytest.mark.embedded
async def test_an_outage_is_counted(client: Any, prefix: str, backend: Any) -> None:
    metrics = InMemoryMetrics()
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        limiter = RateLimiter(hub, Limit(9, per=60), name="api", on_error="allow")
        with backend.outage:
            assert (await limiter.hit("a")).degraded
        while (await limiter.hit("a")).degraded:
            await asyncio.sleep(0.01)
    assert len(metrics.observed("rate_degraded_seconds", limiter="api")) == 1


class Broken:
    """A collector that cannot."""

    def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
        raise ConnectionError("no")

    observe = gauge = increment


async def test_a_collector_that_fails_stops_nothing(client: Any, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Hub(client, key_prefix=prefix, metrics=Broken()) as hub:
        await tour(hub, Broken())
    assert caplog.text.count("the metrics collector failed") == 4, "once by the hub and by each of those without one"
    assert "ConnectionError" in caplog.text


def test_in_threads(sync_client: Any, prefix: str) -> None:
    metrics = InMemoryMetrics()
    with riskscale.sync.Hub(sync_client, key_prefix=prefix, metrics=metrics) as hub:
        lock = riskscale.sync.Lock(hub, "a", ttl=10)
        with lock, riskscale.sync.MultiLock(hub, ["b"], ttl=10):
            assert lock.acquire(timeout=0) is None
        lease = lock.acquire()
        assert lease is not None
        hub.client.delete(hub.key("a") + ":lock")
        for _ in range(2):
            with pytest.raises(riskscale.LeaseLost):
                lease.release()
        assert riskscale.sync.RateLimiter(hub, Limit(1, per=60), name="api").wait("a")
        for _ in riskscale.sync.Election(hub, "a", ttl=10).terms():
            break
    outcomes = [event.labels["outcome"] for event in metrics.events("lock_wait_seconds")]
    assert outcomes == ["acquired", "acquired", "timeout", "acquired", "acquired"]
    ends = [event.labels["outcome"] for event in metrics.events("lock_hold_seconds")]
    assert ends == ["released", "released", "lost", "released"]
    assert len(metrics.observed("rate_wait_seconds", limiter="api")) == 1


async def test_a_lease_is_counted_once(client: Any, prefix: str) -> None:
    metrics = InMemoryMetrics()
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        told = await Lock(hub, "told", ttl=10).acquire()
        assert told is not None and not told.lost.is_set()
        await hub.client.delete(hub.key("told") + ":lock")
        for _ in range(2):
            with pytest.raises(riskscale.LeaseLost):
                await told.renew()
        twice = await Lock(hub, "twice", ttl=10).acquire()
        assert twice is not None
        await twice.release()
        await twice.release()
        held = await Lock(hub, "closing", ttl=10).acquire()
        with pytest.raises(riskscale.LeaseLost):
            await told.release()
    assert held is not None and held.over, "the hub gave it back"
    ends = [(event.labels["lock"], event.labels["outcome"]) for event in metrics.events("lock_hold_seconds")]
    assert ends == [("told", "lost"), ("twice", "released"), ("closing", "released")]


async def test_a_breaker_without_a_hub() -> None:
    metrics = InMemoryMetrics()
    breaker = CircuitBreaker(
        1, 60, "payments", metrics_callback=lambda metric, name: metrics.increment(metric, breaker=name)
    )
    with pytest.raises(ZeroDivisionError):
        await breaker.call(lambda: 1 / 0)
    assert metrics.total("circuit_breaker_failure", breaker="payments") == 1
    assert metrics.total("circuit_breaker_state_change", breaker="payments") == 1


@pytest.mark.parametrize("metrics", [object(), "prometheus", InMemoryMetrics])
def test_what_is_no_collector_is_refused(metrics: Any, sync_client: Any) -> None:
    for make in (
        lambda: riskscale.sync.Hub(sync_client, metrics=metrics),
        lambda: BulkheadExecutor(1, 1, metrics=metrics),
        lambda: TenantRateLimiter(riskscale.InMemoryRateLimitBackend(), 1, 60, metrics),
        lambda: riskscale.sync.TenantRateLimiter(riskscale.sync.InMemoryRateLimitBackend(), 1, 60, metrics),
    ):
        with pytest.raises(ArgumentError) as caught:
            make()
        assert caught.value.argument == "metrics"


def test_what_memory_remembers() -> None:
    metrics = InMemoryMetrics()
    for outcome in ("admitted", "refused", "refused"):
        metrics.increment("rate_decisions", limiter="api", outcome=outcome)
    metrics.increment("rate_decisions", 3, limiter="login", outcome="refused")
    metrics.observe("rate_decision_seconds", 0.25, limiter="api")
    metrics.gauge("bulkhead_running", 2, bulkhead="db")
    metrics.gauge("bulkhead_running", 1, bulkhead="db")
    assert metrics.total("rate_decisions") == 6 and metrics.total("rate_decisions", limiter="api") == 3
    assert metrics.total("rate_decisions", outcome="refused", limiter="login") == 3
    assert metrics.total("nothing") == 0 and metrics.total("rate_decision_seconds") == 0
    assert metrics.observed("rate_decision_seconds") == [0.25]
    assert metrics.last("bulkhead_running", bulkhead="db") == 1
    assert metrics.last("bulkhead_running", bulkhead="other") is None
    assert len(metrics.events()) == 7 and len(metrics.events("bulkhead_running")) == 2
    metrics.clear()
    assert not metrics.events()
