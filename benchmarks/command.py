"""The command line that the suites share: measure every section, print a table of each, save all as JSON."""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import redis
from redis.utils import HIREDIS_AVAILABLE

import riskscale
from benchmarks import report
from benchmarks.rounds import Settings
from riskscale.testing.server import ServerProcess

S = TypeVar("S", bound=Settings)
Results = dict[str, Any]
"""The settings, versions and machine, and the rows of each section."""


class Page(Protocol):
    """Where results are published."""

    def write(self, results: Results) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite(Generic[S]):
    """What one command measures.

    Attributes:
        module: what stands behind ``python -m``.
        sections: by name, each with its title and what measures it.
        settings: the class that says how much.
        libraries: the others, by the names of their distributions.
        file: where the figures go unless it is said.
        any_server: whether it may be pointed at a server that holds other things.
        page: what writes the results into the documentation, of which folder.
    """

    module: str
    sections: dict[str, tuple[str, Callable[[str, S], list[report.Row]]]]
    settings: type[S]
    libraries: Sequence[str]
    file: Path
    any_server: bool = False
    page: Callable[[Path], Page] | None = None


def run(suite: Suite[S], arguments: list[str] | None) -> None:
    """Measure, print, save."""
    parser = _parser(suite)
    options = parser.parse_args(arguments)
    settings: S = cast(S, suite.settings.short()) if options.short else suite.settings()
    if options.rounds is not None:
        if options.rounds < 1:
            parser.exit(2, f"{parser.prog}: --rounds must be at least 1\n")
        settings = replace(settings, rounds=options.rounds)
    page = _page(suite, parser, options.docs)
    results: Results = {"settings": asdict(settings), "machine": _machine()}
    with _server(options.redis) as url:
        try:
            versions = _versions(url, suite.libraries)
        except (redis.RedisError, ValueError) as error:
            parser.exit(2, f"{parser.prog}: --redis: {error}\n")
        results["versions"] = versions
        print(", ".join(f"{name} {number}" for name, number in versions.items()))
        print(results["machine"], end="\n\n")
        for section, (title, measure) in suite.sections.items():
            rows = measure(url, settings)
            results[section] = rows
            print(report.table(title, rows), flush=True)
            report.save(options.json, results)  # what an interrupted run has measured is not lost
    print(f"saved as {options.json}")
    if page is not None:
        page.write(results)
        print(f"published in {options.docs}")


def _parser(suite: Suite[Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {suite.module}", description="riskscale beside other libraries")
    parser.add_argument("--json", type=Path, default=suite.file, help="where the figures go (%(default)s)")
    parser.add_argument("--rounds", type=int, help="turns of each; the figures are medians over them")
    parser.add_argument("--short", action="store_true", help="some seconds, rough figures")
    parser.set_defaults(redis=None, docs=None)
    if suite.any_server:
        parser.add_argument("--redis", metavar="URL", help="an otherwise idle server, in place of one of its own")
    if suite.page is not None:
        parser.add_argument("--docs", metavar="FOLDER", type=Path, help="where to write pictures and tables too")
    return parser


def _page(suite: Suite[Any], parser: argparse.ArgumentParser, folder: Path | None) -> Page | None:
    if suite.page is None or folder is None:
        return None
    try:
        return suite.page(folder)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: --docs: {error}\n")


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with ServerProcess() as server:
        yield server.url


def _versions(url: str, libraries: Sequence[str]) -> dict[str, str]:
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    server = {"valkey": info["valkey_version"]} if "valkey_version" in info else {"redis": info["redis_version"]}
    others = {name: version("redis" if name == "redis-py" else name) for name in libraries}
    if HIREDIS_AVAILABLE:
        others["hiredis"] = version("hiredis")
    return {"python": platform.python_version(), **server, "riskscale": riskscale.__version__, **others}


def _machine() -> str:
    """Its class, not its name."""
    known = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", known.read_text()) if known.exists() else None
    kind = model[1] if model else platform.machine()
    return f"{platform.system()}, {os.cpu_count()} processors, {kind}"
