"""The command: ``python -m benchmarks.languages [--json FILE] [--rounds N] [--short] [--redis URL]``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import command
from benchmarks.languages import decisions
from benchmarks.rounds import Settings

SUITE = command.Suite(
    module="benchmarks.languages",
    sections={
        "one_process": (
            "rate.gcra, one process, one call after the other; bare = EVALSHA of `return 1` with as many words",
            decisions.one_process,
        ),
    },
    settings=Settings,
    libraries=("redis-py",),
    file=Path("build/bench-languages.json"),
    any_server=True,
)


def main(arguments: list[str] | None = None) -> None:
    """Languages."""
    command.run(SUITE, arguments)


if __name__ == "__main__":
    main()
