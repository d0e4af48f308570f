"""What is done for each request without a round trip, beside a call that does nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from hashlib import sha256

import redis

import riskscale
import riskscale.sync
from benchmarks.fleet.settings import FleetSettings
from benchmarks.partitions import PARTITIONS
from benchmarks.report import Row
from benchmarks.rounds import Work, ratio, seconds_per_operation

BARE = "a call that does nothing"
TENANTS = [f"tenant-{number}" for number in range(1000)]
LATENCIES = [number * number / 1e6 for number in range(1000)]


def partitions(url: str, settings: FleetSettings) -> list[Row]:
    """The partition of a tenant."""
    modulo = riskscale.WorkloadPartitioner(PARTITIONS)
    jump = riskscale.WorkloadPartitioner(PARTITIONS, strategy="jump")
    return _rows(
        {
            BARE: _each(TENANTS, lambda tenant: None),
            "SHA-256 alone": _each(TENANTS, lambda tenant: sha256(tenant.encode()).digest()),
            "get_partition": _each(TENANTS, modulo.get_partition),
            "get_partition, jump": _each(TENANTS, jump.get_partition),
        },
        settings,
    )


def events(url: str, settings: FleetSettings) -> list[Row]:
    """One request of a fleet's metrics."""
    with redis.Redis.from_url(url) as client:
        fleet = riskscale.sync.FleetMetrics(client, "bench")
        return _rows(
            {
                BARE: _each(LATENCIES, lambda latency: None),
                "FleetMetrics.observe": _each(LATENCIES, fleet.observe),
                "observe(failed=True)": _each(LATENCIES, lambda latency: fleet.observe(latency, failed=True)),
            },
            settings,
        )


def _each(values: list[str] | list[float], act: Callable[..., object]) -> Work:
    def several(count: int) -> None:
        for at in range(count):
            act(values[at % 1000])

    return several


def _rows(works: Mapping[str, Work], settings: FleetSettings) -> list[Row]:
    taken = seconds_per_operation(works, settings)
    over = {name: [a - b for a, b in zip(each, taken[BARE], strict=True)] for name, each in taken.items()}
    return [
        {
            "name": name,
            "us": 1e6 * statistics.median(taken[name]),
            "us_over_bare": 1e6 * statistics.median(over[name]),
            "ratio_to_bare": ratio(taken[name], taken[BARE]),
        }
        for name in works
    ]
