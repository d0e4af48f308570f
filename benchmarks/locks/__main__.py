"""The command: ``python -m benchmarks.locks [--json FILE] [--rounds N] [--short] [--redis URL]``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import command
from benchmarks.locks import alone, contenders, handover, queued, renewal
from benchmarks.locks.contenders import LockSettings

SUITE = command.Suite(
    module="benchmarks.locks",
    sections={
        "alone_blocking": (
            "Nobody else wants it, one thread: acquire and release; bare = as many EVALSHA of `return 1`",
            alone.blocking,
        ),
        "alone_asyncio": ("The same, asyncio, one caller", alone.concurrent),
        "alone_server": ("The same: the server's time for each of the two scripts", alone.server_time),
        "hand_over_asyncio": (
            "From one's release to the next one's grant, one event loop; bare = a round trip after the same idle time",
            handover.concurrent,
        ),
        "hand_over_processes": ("The same, OS processes", handover.processes),
        "queued": ("Server per hand-over and one who joins, by the length of the queue", queued.by_length),
        "renewal": (
            f"All leases renewed once, which is due every {renewal.EVERY:g} s of a {renewal.TTL} s lease",
            renewal.one_process,
        ),
    },
    settings=LockSettings,
    libraries=contenders.LIBRARIES,
    file=Path("build/bench-locks.json"),
    any_server=True,
)


def main(arguments: list[str] | None = None) -> None:
    """Locks."""
    command.run(SUITE, arguments)


if __name__ == "__main__":
    main()
