"""The page, its table and the dashboard say what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import prometheus_client
import promql_parser
import pytest

from riskscale import Hub, PrometheusMetrics
from riskscale.metrics import METRICS, Kind
from riskscale.testing import ServerProcess
from tests.metrics.tour import ELSEWHERE, tour
from tests.test_readme import ROOT, blocks, ran
from tools import metrics as generator

PAGE = (ROOT / "docs" / "metrics.md").read_text()
DASHBOARD = json.loads((ROOT / "docs" / "grafana" / "riskscale.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
SCRAPE = {"job", "instance"}
"""Labels that Prometheus adds."""
NOT_SHOWN = {"rate_degraded_seconds", "rate_limit_exceeded"}


def test_the_example(scratch_server: ServerProcess) -> None:
    (example,) = blocks("python", PAGE)
    assert ran(example, scratch_server).splitlines() == [
        'riskscale_lock_hold_seconds_count{kind="lock",outcome="released"} 1.0',
        'riskscale_rate_decisions_total{degraded="no",limiter="api",outcome="admitted"} 2.0',
        'riskscale_rate_decisions_total{degraded="no",limiter="api",outcome="refused"} 1.0',
    ]


def test_nothing_is_stale() -> None:
    for path, text in generator.generated().items():
        assert path.read_text() == text, f"{path.name}: run make metrics"


def test_every_metric_has_a_row() -> None:
    for metric in METRICS.values():
        (row,) = re.findall(rf"^\| `{metric.prometheus}` .*$", PAGE, re.M)
        assert f"`{metric.otel}`, {metric.unit} " in row and metric.help in row
        assert all(f"`{label}`" in row for label in metric.labels)


def selectors(node: Any) -> Iterator[Any]:
    """Every vector that a query reads."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "args"):
        below = getattr(node, name, None)
        for each in below if isinstance(below, list) else [below]:
            if each is not None:
                yield from selectors(each)


def read(query: str) -> list[tuple[str, dict[str, str], set[str]]]:
    """What a query reads: names, matchers, and the labels it groups by."""
    tree = promql_parser.parse(query.replace("$__rate_interval", "5m"))
    by = {word for group in re.findall(r" by \(([^)]*)\)", query) for word in group.replace(" ", "").split(",")}
    return [
        (each.name, {matcher.name: matcher.value for matcher in each.matchers.matchers}, by - {""})
        for each in selectors(tree)
    ]


def base(name: str) -> str:
    """A metric's name, of that of its samples."""
    return re.sub(r"_(bucket|count|sum)$", "", name)


async def test_the_dashboard_asks_for_what_is_exported(client: Any, prefix: str) -> None:
    registry = prometheus_client.CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        await tour(hub, metrics)
    tell = {Kind.COUNTER: metrics.increment, Kind.HISTOGRAM: metrics.observe, Kind.GAUGE: metrics.gauge}
    for name in ELSEWHERE:
        tell[METRICS[name].kind](name, 1, **dict.fromkeys(METRICS[name].labels, "x"))
    exported: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            exported.setdefault(sample.name, set()).update(sample.labels)
    metrics_by_name = {metric.prometheus: metric for metric in METRICS.values()}
    asked = [part for query in QUERIES for part in read(query)]
    assert len(asked) >= len(QUERIES)
    for name, matchers, by in asked:
        assert name in exported, name
        assert by - SCRAPE <= exported[name] and matchers.keys() - {"job"} <= exported[name], name
        metric = metrics_by_name[base(name)]
        for label in matchers.keys() - {"job"}:
            assert set(matchers[label].split("|")) <= set(metric.labels[label]), label
    shown = {base(name) for name, _, _ in asked}
    assert {name for name, metric in METRICS.items() if metric.prometheus not in shown} == NOT_SHOWN


def test_legends_and_places() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if "targets" in panel]
    for panel in panels:
        for target in panel["targets"]:
            outermost = re.findall(r" by \(([^)]*)\)", target["expr"])[0].split(", ")
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == {*outermost} - {"le"}, panel["title"]
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "two pictures in one place"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("query", ["sum by (le (rate(riskscale_x[$__rate_interval]))", "rate(riskscale_x)"])
def test_a_query_that_is_wrong_would_be_found(query: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own words
        read(query)
