"""What a scrape sees, read by prometheus-client's own parser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from riskscale import ArgumentError, PrometheusMetrics
from riskscale.metrics import METRICS, Kind

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    return prometheus_client.CollectorRegistry()


def families(registry: Any) -> Iterator[Any]:
    return text_string_to_metric_families(prometheus_client.generate_latest(registry).decode())


def samples(registry: Any) -> Samples:
    """Every line of the page, but for when its series began."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(registry)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(registry: Any, name: str, **labels: str) -> float | None:
    return samples(registry).get((name, frozenset(labels.items())))


def test_names_helps_and_kinds(registry: Any) -> None:
    PrometheusMetrics(registry)
    found = {family.name: family for family in families(registry)}
    for metric in METRICS.values():
        family = found[metric.prometheus.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert metric.prometheus.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.prometheus.endswith("_seconds") == (metric.unit == "s")


def test_each_kind(registry: Any) -> None:
    metrics = PrometheusMetrics(registry, buckets={"rate_decision_seconds": (0.1, 1)})
    for outcome in ("admitted", "refused", "admitted"):
        metrics.increment("rate_decisions", limiter="api", outcome=outcome, degraded="no")
    assert value(registry, "riskscale_rate_decisions_total", limiter="api", outcome="admitted", degraded="no") == 2
    for running in (3, 1):
        metrics.gauge("bulkhead_running", running, bulkhead="db", shared="no")
    assert value(registry, "riskscale_bulkhead_running", bulkhead="db", shared="no") == 1
    for seconds in (0.05, 0.5, 5):
        metrics.observe("rate_decision_seconds", seconds, limiter="api")
    name = "riskscale_rate_decision_seconds"
    assert value(registry, f"{name}_sum", limiter="api") == 5.55
    assert [value(registry, f"{name}_bucket", limiter="api", le=le) for le in ("0.1", "1.0", "+Inf")] == [1, 2, 3]
    metrics.observe("rate_batch_size", 64)
    assert value(registry, "riskscale_rate_batch_size_count") == 1


def test_the_order_of_labels_does_not_matter_and_one_may_lack(registry: Any) -> None:
    metrics = PrometheusMetrics(registry)
    metrics.increment("rate_decisions", limiter="refused", outcome="admitted", degraded="no")
    metrics.increment("rate_decisions", degraded="no", outcome="admitted", limiter="refused")
    metrics.increment("rate_decisions", outcome="admitted")
    metrics.increment("rate_decisions", outcome="admitted", further="x")
    name = "riskscale_rate_decisions_total"
    assert value(registry, name, limiter="refused", outcome="admitted", degraded="no") == 2
    assert value(registry, name, limiter="", outcome="admitted", degraded="") == 2


@pytest.mark.parametrize(
    ("method", "name", "exported"),
    [
        ("increment", "my.own metric!", "riskscale_my_own_metric_total"),
        ("increment", "visits_total", "riskscale_visits_total"),
        ("increment", "Größe", "riskscale_gr_e_total"),
        ("increment", "§", "riskscale_unnamed_total"),
        ("gauge", "9lives", "riskscale_9lives"),
        ("gauge", "rate_decisions", "riskscale_rate_decisions_gauge"),
        ("observe", "bulkhead_running", "riskscale_bulkhead_running_histogram_count"),
        ("observe", "x" * 500, f"riskscale_{'x' * 128}_count"),
    ],
)
def test_unknown_names_are_exported_all_the_same(registry: Any, method: str, name: str, exported: str) -> None:
    metrics = PrometheusMetrics(registry)
    for _ in range(2):
        getattr(metrics, method)(name, 1, **{"le": "1", "a-b": "2", "a.b": "3", "__x": "\ud800", "9": "4"})
    labels = {"_le": "1", "a_b": "2", "a_b_": "3", "x": "?", "_9": "4"}
    assert value(registry, exported, **labels) == (1 if method == "gauge" else 2)


def test_names_that_read_the_same(registry: Any) -> None:
    metrics = PrometheusMetrics(registry)
    mine = prometheus_client.Counter("riskscale_jobs", "somebody else's", registry=registry)
    metrics.increment("jobs")
    metrics.gauge("jobs", 7)
    metrics.increment("a.b", 1)
    metrics.increment("a-b", 2)
    mine.inc(5)
    assert value(registry, "riskscale_jobs_total") == 5 and value(registry, "riskscale_jobs_counter_total") == 1
    assert value(registry, "riskscale_jobs_gauge") == 7
    assert value(registry, "riskscale_a_b_total") == 1 and value(registry, "riskscale_a_b_counter_total") == 2


def test_a_second_one_on_a_registry_is_refused(registry: Any) -> None:
    PrometheusMetrics(registry)
    with pytest.raises(ArgumentError, match="registry has a metric of that name already"):
        PrometheusMetrics(registry)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("buckets", {"buckets": {"rate_decisions": (1, 2)}}),
        ("buckets", {"buckets": {"nothing": (1, 2)}}),
        ("buckets", {"buckets": {"rate_batch_size": (2, 1)}}),
        ("buckets", {"buckets": {"rate_batch_size": ()}}),
        ("max_series", {"max_series": 0}),
        ("top['tenant_id']", {"top": {"tenant_id": 0}}),
        ("top['tenant_id']", {"top": {"tenant_id": 5}, "max_series": 4}),
        ("drop", {"drop": "tenant_id"}),
        ("drop", {"drop": 5}),
        ("top", {"top": ["tenant_id"]}),
        ("buckets", {"buckets": {"rate_batch_size": ("1", 2)}}),
        ("buckets", {"buckets": {"rate_batch_size": (1, float("nan"))}}),
        ("registry", {"registry": "mine"}),
    ],
)
def test_bad_arguments(registry: Any, argument: str, options: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        PrometheusMetrics(**{"registry": registry, **options})
    assert caught.value.argument == argument


def test_an_option_that_there_is_not(registry: Any) -> None:
    with pytest.raises(TypeError, match="'tops'"):
        PrometheusMetrics(registry, tops={})  # type: ignore[call-arg]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_value_spoils_no_series(registry: Any, bad: float) -> None:
    metrics = PrometheusMetrics(registry)
    for tell in (metrics.increment, metrics.observe, metrics.gauge):
        with pytest.raises(ArgumentError):
            tell("rate_decisions", bad)
    with pytest.raises(ArgumentError, match="only rises"):
        metrics.increment("rate_decisions", -1)
    assert not any(samples(registry).values())


def test_several_processes(tmp_path: Any) -> None:
    """In its multiprocess mode, which is chosen when prometheus-client is imported."""
    code = """if True:
        import prometheus_client, riskscale
        from prometheus_client.multiprocess import MultiProcessCollector
        try:
            riskscale.PrometheusMetrics(top={"tenant_id": 5})
        except riskscale.ArgumentError as error:
            print(error.argument)
        metrics = riskscale.PrometheusMetrics()
        metrics.increment("bulkhead_rejected", bulkhead="db")
        metrics.gauge("bulkhead_running", 3, bulkhead="db", shared="no")
        registry = prometheus_client.CollectorRegistry()
        MultiProcessCollector(registry)
        page = prometheus_client.generate_latest(registry).decode()
        print(*sorted(line for line in page.splitlines() if line.startswith("riskscale_bulkhead")), sep="\\n")
    """
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    top, rejected, running = ran.stdout.splitlines()
    assert (top, rejected) == ("top", 'riskscale_bulkhead_rejected_total{bulkhead="db"} 1.0')
    assert running.startswith('riskscale_bulkhead_running{bulkhead="db",pid="') and running.endswith(" 3.0")
