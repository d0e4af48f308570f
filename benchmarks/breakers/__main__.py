"""The command: ``python -m benchmarks.breakers [--json FILE] [--rounds N] [--short]``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import command
from benchmarks.breakers import alone, contenders, probes, reports, spread
from benchmarks.breakers.contenders import FAILURES, BreakerSettings

SUITE = command.Suite(
    module="benchmarks.breakers",
    sections={
        "alone_asyncio": ("A call through the breaker, beside the same call without it, asyncio", alone.concurrent),
        "alone_blocking": ("The same, blocking", alone.blocking),
        "spread": (
            f"From the last of {FAILURES} failures in one process to the others' refusals",
            spread.one_fails,
        ),
        "spread_pooled": ("All fail: from the failure by which a rate is exceeded to the refusals", spread.all_fail),
        "probes": ("Half-open: calls let through, all replicas together", probes.half_open),
        "reports": ("What reports cost the server", reports.cost_of_reports),
    },
    settings=BreakerSettings,
    libraries=contenders.LIBRARIES,
    file=Path("build/bench-breakers.json"),
)


def main(arguments: list[str] | None = None) -> None:
    """Breakers."""
    command.run(SUITE, arguments)


if __name__ == "__main__":
    main()
