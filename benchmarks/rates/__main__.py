"""The command: ``python -m benchmarks.rates [--json FILE] [--rounds N] [--short] [--docs FOLDER]``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import command
from benchmarks.rates import callers, contenders, growth, latency, local, memory, publish, server_side
from benchmarks.rates.contenders import RateSettings

SUITE = command.Suite(
    module="benchmarks.rates",
    sections={
        "blocking": (
            "One thread: decisions a second; bare = EVALSHA of `return 1`; by redis-py's parser",
            callers.blocking,
        ),
        "asyncio": ("One event loop, concurrent callers", callers.concurrent),
        "hit_many": ("The same, one caller: a request at a time, and lists of a hundred", callers.hit_many),
        "latency": (
            f"One caller's wait for one decision, after {1000 * latency.IDLE:g} ms of idle time",
            latency.one_caller,
        ),
        "local": ("Decisions without a round trip, asyncio, one caller", local.one_caller),
        "server_time": ("Server time per decision", server_side.server_time),
        "memory": ("Bytes of one tenant whose limit is used up", memory.bytes_per_key),
        "growth_keys": ("Server time, by the number of tenants", growth.by_keys),
        "growth_limit": ("Server time, by the height of the limit", growth.by_limit),
    },
    settings=RateSettings,
    libraries=contenders.LIBRARIES,
    file=Path("build/bench-rates.json"),
    page=publish.Page,
)


def main(arguments: list[str] | None = None) -> None:
    """Rates."""
    command.run(SUITE, arguments)


if __name__ == "__main__":
    main()
