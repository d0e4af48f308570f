"""The command: ``python -m benchmarks.fleet [--json FILE] [--rounds N] [--short]``."""

from __future__ import annotations

from pathlib import Path

import redis

from benchmarks import command, metrics, partitions
from benchmarks.fleet import local, replay, reports
from benchmarks.fleet.settings import FleetSettings
from benchmarks.partitions import PARTITIONS
from benchmarks.report import Row


def groups(url: str, settings: FleetSettings) -> list[Row]:
    """By the replicas that share them out."""
    with redis.Redis.from_url(url) as client:
        return partitions.groups(client, settings.replicas)


SUITE = command.Suite(
    module="benchmarks.fleet",
    sections={
        "partitions": (f"The partition of a tenant, of {PARTITIONS:,}", local.partitions),
        "events": ("One request of a fleet's metrics", local.events),
        "metrics": ("One event of a hub's metrics", lambda url, settings: metrics.events(settings)),
        "reports": ("What reports and snapshots cost the server", reports.cost),
        "groups": (f"What a group of {PARTITIONS:,} partitions costs the server", groups),
        "replays": ("Idempotent requests", replay.replays),
    },
    settings=FleetSettings,
    libraries=("redis-py",),
    file=Path("build/bench-fleet.json"),
)


def main(arguments: list[str] | None = None) -> None:
    """Fleets."""
    command.run(SUITE, arguments)


if __name__ == "__main__":
    main()
