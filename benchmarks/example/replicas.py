"""Three replicas on one server: how throughput grows, and that they grant a tenant its limit once, not three times."""

from __future__ import annotations

import statistics
from collections import Counter
from contextlib import ExitStack

from benchmarks.example.client import TENANTS, Client, Story
from benchmarks.example.protections import ExampleSettings, replica
from benchmarks.processes import Processes
from benchmarks.report import Row
from benchmarks.rounds import ratio, turns

REPLICAS = 3
CLIENTS = 2


def growth(url: str, settings: ExampleSettings) -> list[Row]:
    """All three run all the time; in turns one or all of them are asked, by as many connections."""
    with ExitStack() as stack:
        started = [replica(stack, f"replica-{number}", url, RISK_KEY_PREFIX="g.") for number in range(REPLICAS)]
        clients = stack.enter_context(Processes(url, CLIENTS, Client))
        for each in started:
            each.wait_until_ready()
        asked = {"one replica": [started[0].port], f"{REPLICAS} replicas": [each.port for each in started]}
        callers = REPLICAS * max(settings.callers) // CLIENTS
        clients.all_do("drive", asked[f"{REPLICAS} replicas"], callers, settings.calls)
        per_s: dict[str, list[float]] = {name: [] for name in asked}
        took_ms: dict[str, list[float]] = {name: [] for name in asked}
        for names in turns(list(asked), settings.rounds):
            for name in names:
                stories: list[Story] = clients.all_do("drive", asked[name], callers, settings.calls)
                per_s[name].append(sum(story.per_s for story in stories))
                took_ms[name] += [each for story in stories for each in story.took_ms]
        return [
            {
                "name": name,
                "connections": callers * CLIENTS,
                "per_s": statistics.median(each),
                "growth": ratio(each, per_s["one replica"]),
                "p50_ms": statistics.median(took_ms[name]),
                "p99_ms": statistics.quantiles(took_ms[name], n=100)[98],
            }
            for name, each in per_s.items()
        ]


def one_limit(url: str, settings: ExampleSettings) -> list[Row]:
    """Each tenant sends half as much again as its limit, to all replicas at once."""
    limit = settings.burst * 2 // 3
    with ExitStack() as stack:
        started = [
            replica(
                stack, f"replica-{number}", url, RISK_KEY_PREFIX="l.", RISK_RATE_LIMIT=f"{limit}/hour",
                RISK_REPLICAS=str(REPLICAS),
            )
            for number in range(REPLICAS)
        ]  # fmt: skip
        client = stack.enter_context(Processes(url, 1, Client))
        for each in started:
            each.wait_until_ready()
        ports = [each.port for each in started]
        story: Story = client.one_does("drive", ports, REPLICAS * max(settings.callers), settings.burst * TENANTS)
    admitted = Counter({tenant: count for (tenant, status), count in story.answers.items() if status == 201})
    refused = sum(count for (_, status), count in story.answers.items() if status == 429)
    return [
        {
            "name": f"{REPLICAS} replicas",
            "tenants": TENANTS,
            "sent_each": settings.burst,
            "limit": limit,
            "admitted_fewest": min(admitted.values()),
            "admitted_most": max(admitted.values()),
            "refused": refused,
            "per_s": story.per_s,
        }
    ]
