"""What is made of the table of metrics: `make metrics` writes the one in docs/metrics.md and the Grafana dashboard."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from riskscale.metrics import METRICS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, DASHBOARD = DOCS / "metrics.md", DOCS / "grafana" / "riskscale.json"
TABLE = re.compile(r"(<!-- metrics -->\n).*?(<!-- /metrics -->)", re.S)
JOB = 'job=~"$job"'
REFUSED = 'outcome!="admitted"'
WIDTH, HEIGHT = 12, 8
SOURCE = {"type": "prometheus", "uid": "${source}"}


class Query(NamedTuple):
    """What a panel asks, and what it calls each line of the answer."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One picture; ``unit`` in Grafana's words."""

    title: str
    unit: str
    queries: Sequence[Query]


def table() -> str:
    """Of all metrics, in Markdown."""
    lines = ["| Prometheus | OpenTelemetry, unit | kind | labels | |", "|---|---|---|---|---|"]
    for metric in METRICS.values():
        labels = "<br>".join(
            f"`{label}`{': ' if values else ''}{', '.join(values)}" for label, values in metric.labels.items()
        )
        cells = (f"`{metric.prometheus}`", f"`{metric.otel}`, {metric.unit}", metric.kind, labels, metric.help)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def series(name: str, end: str = "", where: str = "") -> str:
    """A selector of one metric's series."""
    return f"{METRICS[name].prometheus}{end}{{{JOB}{where and ', '}{where}}}"


def rate(name: str, by: str, where: str = "", end: str = "") -> str:
    """Events a second; of a histogram with ``end``."""
    return f"sum by ({by}) (rate({series(name, end, where)}[$__rate_interval]))"


def quantile(share: float, name: str, by: str) -> str:
    """Of a histogram."""
    return f"histogram_quantile({share}, {rate(name, f'{by}, le' if by else 'le', end='_bucket')})"


def quantiles(name: str, by: str) -> Sequence[Query]:
    """The median and the 99th percentile."""
    legend = f"{{{{{by}}}}} " if by else ""
    return [Query(quantile(share, name, by), f"{legend}{text}") for share, text in ((0.5, "p50"), (0.99, "p99"))]


def present(name: str, by: str, how: str = "sum", where: str = "") -> str:
    """A gauge, over all processes."""
    return f"{how} by ({by}) ({series(name, where=where)})"


def depth(name: str, text: str) -> Sequence[Query]:
    """A gauge of bulkheads: of local ones all processes together; of shared ones each tells the whole."""
    return [
        Query(present(name, "bulkhead", how, f'shared="{shared}"'), f"{{{{bulkhead}}}} {text}{of}")
        for how, shared, of in (("sum", "no", ""), ("max", "yes", ", shared"))
    ]


def leaders(name: str) -> Query:
    """A gauge of the replicas that decide now: those that led before still show what they saw."""
    deciding = rate("scaling_decisions", "job, instance, group")
    expr = f"max by (group) ({series(name)} and on (job, instance, group) {deciding} > 0)"
    return Query(expr, f"{{{{group}}}} {name.removeprefix('scaling_')}")


ROWS: dict[str, Sequence[Panel]] = {
    "Rate limits": (
        Panel("Decisions", "ops", [Query(rate("rate_decisions", "limiter, outcome"), "{{limiter}} {{outcome}}")]),
        Panel(
            "Refused, of all",
            "percentunit",
            [
                Query(
                    f"{rate('rate_decisions', 'limiter', REFUSED)} / {rate('rate_decisions', 'limiter')}", "{{limiter}}"
                )
            ],
        ),
        Panel("Time of a decision", "s", quantiles("rate_decision_seconds", "limiter")),
        Panel(
            "Decided without the server",
            "ops",
            [Query(rate("rate_decisions", "limiter", 'degraded="yes"'), "{{limiter}}")],
        ),
        Panel("Hits in one call", "short", quantiles("rate_batch_size", "")),
        Panel("Time waited for a limit", "s", quantiles("rate_wait_seconds", "limiter")),
    ),
    "Locks, semaphores, elections": (
        Panel("Time to acquire", "s", quantiles("lock_wait_seconds", "kind")),
        Panel("Time held", "s", quantiles("lock_hold_seconds", "kind")),
        Panel(
            "Attempts",
            "ops",
            [Query(rate("lock_wait_seconds", "kind, outcome", end="_count"), "{{kind}} {{outcome}}")],
        ),
        Panel(
            "Leases lost",
            "ops",
            [Query(rate("lock_hold_seconds", "kind", 'outcome="lost"', "_count"), "{{kind}}")],
        ),
    ),
    "Circuit breakers": (
        Panel(
            "Replicas that find it open or half-open",
            "short",
            [
                Query(
                    present("circuit_breaker_state", "breaker, state", where='state=~"open|half_open"'),
                    "{{breaker}} {{state}}",
                )
            ],
        ),
        Panel(
            "Calls",
            "ops",
            [
                Query(rate(f"circuit_breaker_{how}", "breaker"), f"{{{{breaker}}}} {how}")
                for how in ("success", "failure", "rejected")
            ],
        ),
        Panel(
            "Changes of state",
            "ops",
            [Query(rate("circuit_breaker_state_change", "breaker, state"), "{{breaker}} to {{state}}")],
        ),
    ),
    "Bulkheads": (
        Panel(
            "Running, and how many may",
            "short",
            [*depth("bulkhead_running", "running"), *depth("bulkhead_limit", "limit")],
        ),
        Panel("Waiting", "short", depth("bulkhead_waiting", "waiting")),
        Panel(
            "Refused and lost",
            "ops",
            [
                Query(rate("bulkhead_rejected", "bulkhead"), "{{bulkhead}} refused"),
                Query(rate("bulkhead_lost", "bulkhead"), "{{bulkhead}} lost"),
            ],
        ),
        Panel("Time waited", "s", quantiles("bulkhead_wait_seconds", "bulkhead")),
    ),
    "Partitions, scaling, idempotency": (
        Panel(
            "Partitions owned, by all and by each replica",
            "short",
            [Query(present("partitions_owned", "group", how), f"{{{{group}}}} {how}") for how in ("sum", "min", "max")],
        ),
        Panel("Partitions lost", "ops", [Query(rate("partitions_lost", "group"), "{{group}}")]),
        Panel("Replicas, by whoever leads", "short", [leaders("scaling_replicas"), leaders("scaling_replicas_wanted")]),
        Panel(
            "Scaling decisions",
            "ops",
            [
                Query(rate("scaling_decisions", "group, action"), "{{group}} {{action}}"),
                Query(rate("scaling_apply_failures", "group"), "{{group}} failed"),
            ],
        ),
        Panel("Idempotent work", "ops", [Query(rate("idempotency_begins", "guard, outcome"), "{{guard}} {{outcome}}")]),
    ),
}


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    variables = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "job",
            "type": "query",
            "datasource": SOURCE,
            "query": 'label_values({__name__=~"riskscale_.+"}, job)',
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]
    return {
        "title": "riskscale",
        "uid": "riskscale",
        "tags": ["riskscale"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": list(panels()),
    }


def panels() -> Iterator[dict[str, Any]]:
    """Rows of two pictures side by side."""
    number, y = 0, 0
    for title, row in ROWS.items():
        number += 1
        place = {"x": 0, "y": y, "w": 2 * WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        for at, panel in enumerate(row):
            number += 1
            place = {"x": at % 2 * WIDTH, "y": y + at // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield {"id": number, "gridPos": place, **picture(panel)}
        y += (len(row) + 1) // 2 * HEIGHT


def picture(panel: Panel) -> dict[str, Any]:
    """One panel, without its place."""
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend}
            for at, query in enumerate(panel.queries)
        ],
    }


def generated() -> dict[Path, str]:
    """Every file, as it should be."""
    page = TABLE.sub(lambda match: f"{match[1]}{table()}{match[2]}", PAGE.read_text())
    return {PAGE: page, DASHBOARD: json.dumps(dashboard(), indent=2) + "\n"}


def main() -> int:
    """Write, or with --check name what is stale."""
    parser = argparse.ArgumentParser(prog="python -m tools.metrics", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if something is stale")
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(DOCS.parent)}: stale, run make metrics")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(generated()[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
