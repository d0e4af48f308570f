"""The command: ``python -m benchmarks.example [--json FILE] [--rounds N] [--short]``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import command
from benchmarks.example import protections, replicas
from benchmarks.example.protections import ExampleSettings

SUITE = command.Suite(
    module="benchmarks.example",
    sections={
        "protections": ("POST /events of one replica, with all protections and with none", protections.one_replica),
        "growth": ("One replica and three, all protections, one server, one machine", replicas.growth),
        "one_limit": ("A limit of each tenant, at three replicas", replicas.one_limit),
    },
    settings=ExampleSettings,
    libraries=("redis-py", "fastapi", "uvicorn"),
    file=Path("build/bench-example.json"),
)


def main(arguments: list[str] | None = None) -> None:
    """The example service."""
    command.run(SUITE, arguments)


if __name__ == "__main__":
    main()
