"""The command: ``python -m benchmarks [--json FILE] [--rounds N] [--short]``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import client_side, command, contenders, growth, memory, server_side
from benchmarks.rounds import Settings

SUITE = command.Suite(
    module="benchmarks",
    sections={
        "blocking": (
            "One thread: decisions or lock cycles a second; bare = EVALSHA of `return 1`",
            client_side.blocking,
        ),
        "asyncio": ("One event loop, concurrent callers", client_side.concurrent),
        "server_time": ("Server time per decision (a lock's: per script)", server_side.server_time),
        "memory": ("Bytes of one tenant whose limit is used up", memory.bytes_per_key),
        "growth_keys": ("Server time, by the number of keys", growth.by_keys),
        "growth_limit": ("Server time, by the height of the limit", growth.by_limit),
    },
    settings=Settings,
    libraries=contenders.LIBRARIES,
    file=Path("build/bench.json"),
)


def main(arguments: list[str] | None = None) -> None:
    """Rates, and what a lock costs when nobody waits."""
    command.run(SUITE, arguments)


if __name__ == "__main__":
    main()
