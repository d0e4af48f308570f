"""The command: ``python -m benchmarks [--json FILE] [--rounds N] [--short]``."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import redis

import riskscale
from benchmarks import client_side, contenders, growth, memory, report, server_side
from benchmarks.rounds import Settings
from riskscale.testing.server import ServerProcess

SECTIONS: dict[str, tuple[str, Callable[[str, Settings], list[report.Row]]]] = {
    "blocking": ("One thread: decisions or lock cycles a second; bare = EVALSHA of `return 1`", client_side.blocking),
    "asyncio": ("One event loop, concurrent callers", client_side.concurrent),
    "server_time": ("Server time per decision (a lock's: per script)", server_side.server_time),
    "memory": ("Bytes of one tenant whose limit is used up", memory.bytes_per_key),
    "growth_keys": ("Server time, by the number of keys", growth.by_keys),
    "growth_limit": ("Server time, by the height of the limit", growth.by_limit),
}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="riskscale beside other libraries")
    parser.add_argument(
        "--json", type=Path, default=Path("build/bench.json"), help="where the figures go (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, help="turns of each; the figures are medians over them")
    parser.add_argument("--short", action="store_true", help="some seconds, rough figures")
    options = parser.parse_args(arguments)
    settings = Settings.short() if options.short else Settings()
    if options.rounds is not None:
        if options.rounds < 1:
            parser.error("--rounds must be at least 1")
        settings = replace(settings, rounds=options.rounds)
    results: dict[str, object] = {"settings": asdict(settings)}
    with ServerProcess() as server:
        results["versions"] = _versions(server.url)
        print(", ".join(f"{name} {number}" for name, number in _versions(server.url).items()), end="\n\n")
        for section, (title, measure) in SECTIONS.items():
            rows = measure(server.url, settings)
            results[section] = rows
            print(report.table(title, rows), flush=True)
    report.save(options.json, results)
    print(f"saved as {options.json}")


def _versions(url: str) -> dict[str, str]:
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    server = {"valkey": info["valkey_version"]} if "valkey_version" in info else {"redis": info["redis_version"]}
    others = {name: version("redis" if name == "redis-py" else name) for name in contenders.LIBRARIES[1:]}
    return {"python": platform.python_version(), **server, "riskscale": riskscale.__version__, **others}


if __name__ == "__main__":
    main()
