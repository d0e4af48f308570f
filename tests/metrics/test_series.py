"""How many series there are, whatever the labels, in both exporters."""

from __future__ import annotations

import random
import threading
from typing import Any

import prometheus_client
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from riskscale import OpenTelemetryMetrics, PrometheusMetrics
from tests.metrics.conftest import opentelemetry_series, prometheus_series


def key(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_tenants_and_locks_make_no_series(exporter: Any) -> None:
    metrics, series = exporter()
    for number in range(2000):
        metrics.increment("rate_limit_exceeded", tenant_id=f"t{number}")
        metrics.observe("lock_wait_seconds", 0.1, kind="lock", outcome="acquired", lock=f"workflow:{number}")
    assert series("rate_limit_exceeded") == {key(): 2000}
    assert series("lock_wait_seconds") == {key(kind="lock", outcome="acquired"): 2000}


def test_a_label_may_be_kept_or_left_out(exporter: Any) -> None:
    metrics, series = exporter(drop=("limiter",))
    metrics.increment("rate_limit_exceeded", tenant_id="t7")
    metrics.observe("rate_decision_seconds", 0.1, limiter="api")
    assert series("rate_limit_exceeded") == {key(tenant_id="t7"): 1}
    assert series("rate_decision_seconds") == {key(): 1}


def test_there_are_at_most_so_many(exporter: Any) -> None:
    metrics, series = exporter(max_series=5)
    for number in range(100):
        for outcome in ("admitted", "refused"):
            metrics.increment("rate_decisions", limiter=f"l{number}", outcome=outcome, degraded="no")
    found = series("rate_decisions")
    assert len(found) == 5 + 2 and sum(found.values()) == 200
    assert found[key(limiter="other", outcome="refused", degraded="no")] == 98
    assert found[key(limiter="l1", outcome="admitted", degraded="no")] == 1, "who came early stays"
    metrics.increment("rate_decisions", limiter="l1", outcome="admitted", degraded="no")
    assert series("rate_decisions")[key(limiter="l1", outcome="admitted", degraded="no")] == 2
    for number in range(100):
        metrics.gauge("bulkhead_running", number, bulkhead=f"b{number}", shared="no")
    assert series("bulkhead_running") == {key(bulkhead=f"b{number}", shared="no"): number for number in range(5)}


def test_all_labels_of_an_unknown_metric_are_bounded(exporter: Any) -> None:
    metrics, _ = exporter(max_series=5)
    for number in range(100):
        metrics.increment("mine", a=str(number), b=str(number))
    family = metrics._counters["mine"]
    assert len(family._series) == 6 and ("other", "other") in family._series
    assert len(family._known) <= 6


def test_the_busiest_go_by_their_names(exporter: Any) -> None:
    metrics, series = exporter(top={"tenant_id": 3})
    busy, draw = ["t1", "t2", "t3"], random.Random(1)
    tenants = draw.choices(
        [*busy, *(f"rare{number}" for number in range(2000))], [500, 400, 300, *[1] * 2000], k=20_000
    )
    for tenant in ["early1", "early2", "early3", *tenants]:
        metrics.increment("rate_limit_exceeded", tenant_id=tenant)
    found = series("rate_limit_exceeded")
    assert {key(tenant_id=tenant) for tenant in [*busy, "other"]} <= found.keys()
    for tenant in busy:
        assert 0.9 * tenants.count(tenant) <= found[key(tenant_id=tenant)] <= tenants.count(tenant)
    assert len(found) < 15


def test_gauges_have_no_others(exporter: Any) -> None:
    metrics, series = exporter(top={"bulkhead": 1})
    for bulkhead in ("a", "a", "b"):
        metrics.gauge("bulkhead_running", 1, bulkhead=bulkhead, shared="no")
    assert series("bulkhead_running") == {key(bulkhead="a", shared="no"): 1}


def test_a_tenant_called_other_is_one_of_them(exporter: Any) -> None:
    metrics, series = exporter(top={"tenant_id": 1})
    for tenant in ["other"] * 10 + ["a"] + ["b"] * 20 + ["other"]:
        metrics.increment("rate_limit_exceeded", tenant_id=tenant)
    assert series("rate_limit_exceeded")[key(tenant_id="other")] >= 11


def test_prometheus_forgets_who_was_displaced() -> None:
    registry = prometheus_client.CollectorRegistry()
    metrics = PrometheusMetrics(registry, top={"tenant_id": 2}, max_series=4)
    for step in range(12):  # each busier than all before together: every one of them comes to the top
        for _ in range(2**step):
            metrics.increment("rate_limit_exceeded", tenant_id=f"t{step}")
            metrics.increment("mine", tenant_id=f"t{step}", region="eu")
    found = prometheus_series(registry, "rate_limit_exceeded")
    assert set(found) == {key(tenant_id=tenant) for tenant in ("t10", "t11", "other")}
    assert set(metrics._counters["mine"]._series) == {("t10", "eu"), ("t11", "eu"), ("other", "eu")}


def test_opentelemetry_forgets_nobody_and_stays_bounded() -> None:
    reader = InMemoryMetricReader()
    metrics = OpenTelemetryMetrics(MeterProvider([reader]), top={"tenant_id": 2}, max_series=6)
    for step in range(12):
        for _ in range(2**step):
            metrics.increment("rate_limit_exceeded", tenant_id=f"t{step}")
    found = opentelemetry_series(reader, "rate_limit_exceeded")
    assert len(found) == 6 and sum(found.values()) == 2**12 - 1
    assert key(tenant_id="t11") not in found, "it came after six others"


def test_nothing_is_lost_between_threads(exporter: Any) -> None:
    metrics, series = exporter(top={"tenant_id": 50}, max_series=60)
    threads = [
        threading.Thread(
            target=lambda mine: [
                (
                    metrics.increment("rate_limit_exceeded", tenant_id=f"t{number % 50}"),
                    metrics.observe("rate_decision_seconds", 0.001, limiter=f"l{(number * mine) % 100}"),
                )
                for number in range(1000)
            ],
            args=(mine,),
        )
        for mine in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(series("rate_limit_exceeded").values()) == 4000
    decisions = series("rate_decision_seconds")
    assert sum(decisions.values()) == 4000 and len(decisions) <= 61
