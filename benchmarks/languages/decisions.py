"""The same call of the vectors, made by a process of each language."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.report import Row
from benchmarks.rounds import Settings, Work, ratio, seconds_per_operation
from riskscale._core.scripts import folder
from tests.contract.runners.languages import Missing, built
from tests.contract.vectors import FOLDER

MANY = 100
CASE = "rate.gcra: admitted as often as it is asked, at one time"
PROGRAMS = {
    "node": ("node", "bench.mjs"),
    "go": ("bin/bench",),
    "java": ("java", "-cp", "target/classes:target/dependency/*", "Bench"),
}
CLIENTS = {"python": "riskscale.sync", "node": "ioredis", "go": "go-redis", "java": "Jedis"}


def the_calls() -> list[dict[str, Any]]:
    """A step of the vectors that is admitted however often it is made, and a hundred such requests in one call."""
    cases = json.loads((FOLDER / "rate.json").read_bytes())["cases"]
    one: dict[str, Any] = next(case for case in cases if case["name"] == CASE)["steps"][0]
    *limit, cost, now = one["args"]
    keys = [f"{one['keys'][0]}{at}" for at in range(MANY)]
    return [one, {**one, "keys": keys, "args": [*limit, *[cost] * MANY, now]}]


def one_process(url: str, settings: Settings) -> list[Row]:
    """Decisions a second, one call after the other on one connection; a language without a toolchain is named."""
    works: dict[tuple[str, str], Work] = {}
    calls, found = the_calls(), []
    with ExitStack() as stack:
        for name in CLIENTS:
            try:
                command, place = _command(name)
            except Missing as missing:
                print(f"left out: {missing}", file=sys.stderr)
                continue
            found.append(name)
            process = stack.enter_context(_process([*command, str(folder()), json.dumps(calls), url], place))
            for what in ("bare", "0", "1"):
                works[name, what] = _order(process, what)
        taken = seconds_per_operation(works, settings)
    with redis.Redis.from_url(url) as client:
        client.delete(*(key for call in calls for key in call["keys"]))
    return [
        {
            "name": f"{name} ({CLIENTS[name]})",
            "bare_per_s": 1 / statistics.median(taken[name, "bare"]),
            "decisions_per_s": 1 / statistics.median(taken[name, "0"]),
            "ratio_to_bare": ratio(taken[name, "bare"], taken[name, "0"]),
            f"in_calls_of_{MANY}": MANY / statistics.median(taken[name, "1"]),
            "their_ratio": MANY * ratio(taken[name, "bare"], taken[name, "1"]),
        }
        for name in found
    ]


def _command(name: str) -> tuple[tuple[str, ...], Path]:
    if name == "python":
        return (sys.executable, "-m", "benchmarks.languages.python"), Path(__file__).resolve().parents[2]
    return PROGRAMS[name], built(name)


@contextmanager
def _process(command: list[str], place: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()  # at which it ends


def _order(process: subprocess.Popen[str], what: str) -> Work:
    def work(count: int) -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{what} {count}\n")
        process.stdin.flush()
        if process.stdout.readline() != "done\n":
            raise RuntimeError(f"{process.args!r} ended")

    return work
