"""The command: ``python -m benchmarks.fleet [--json FILE] [--rounds N] [--short]``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import command, metrics
from benchmarks.fleet import local, replay, reports
from benchmarks.fleet.settings import FleetSettings

SUITE = command.Suite(
    module="benchmarks.fleet",
    sections={
        "partitions": (f"The partition of a tenant, of {local.PARTITIONS:,}", local.partitions),
        "events": ("One request of a fleet's metrics", local.events),
        "metrics": ("One event of a hub's metrics", lambda url, settings: metrics.events(settings)),
        "reports": ("What reports and snapshots cost the server", reports.cost),
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
