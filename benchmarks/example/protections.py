"""One replica with all protections, beside one of the same service with none, on the same server."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from risk_engine.fleet import Replica

from benchmarks.example.client import Client, Story
from benchmarks.processes import Processes
from benchmarks.report import Row
from benchmarks.rounds import Settings, ratio, turns

WITH, WITHOUT = "all protections", "none"
NO_LIMIT = "1000000/second"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSettings(Settings):
    """``calls``: requests of one turn; ``callers``: connections; ``burst``: what each tenant sends at a limit."""

    rounds: int = 9
    calls: int = 600
    callers: tuple[int, ...] = (1, 16)
    burst: int = 150

    @classmethod
    def short(cls) -> ExampleSettings:
        """A look in seconds."""
        return cls(rounds=3, calls=100, callers=(8,), burst=15)


def replica(stack: ExitStack, name: str, url: str, **settings: str) -> Replica:
    """A process that has a part of the server for itself, or shares it with those of the same ``RISK_KEY_PREFIX``."""
    env = {"RISK_REDIS_URL": url, "RISK_RATE_LIMIT": NO_LIMIT, "RISK_DECISION_SECONDS": "60", **settings}
    started = Replica(name, env).start()
    stack.callback(started.stop)
    return started


def one_replica(url: str, settings: ExampleSettings) -> list[Row]:
    """In turns, after both have answered a turn that does not count."""
    with ExitStack() as stack:
        replicas = {
            name: replica(stack, f"replica-{number}", url, RISK_PROTECTIONS=on, RISK_KEY_PREFIX=f"{number}.")
            for number, (name, on) in enumerate({WITH: "true", WITHOUT: "false"}.items())
        }
        client = stack.enter_context(Processes(url, 1, Client))
        for each in replicas.values():
            each.wait_until_ready()
            client.one_does("drive", [each.port], max(settings.callers), settings.calls)
        return [row for callers in settings.callers for row in _rows(client, replicas, callers, settings)]


def _rows(client: Processes, replicas: dict[str, Replica], callers: int, settings: ExampleSettings) -> Iterator[Row]:
    stories: dict[str, list[Story]] = {name: [] for name in replicas}
    spent: dict[str, list[float]] = {name: [] for name in replicas}
    for names in turns(list(replicas), settings.rounds):
        for name in names:
            before = cpu_seconds(replicas[name].pid)
            stories[name].append(client.one_does("drive", [replicas[name].port], callers, settings.calls))
            spent[name].append(cpu_seconds(replicas[name].pid) - before)
    per_s = {name: [story.per_s for story in of] for name, of in stories.items()}
    for name, of in stories.items():
        took_ms = sorted(each for story in of for each in story.took_ms)
        yield {
            "name": name,
            "connections": callers,
            "per_s": statistics.median(per_s[name]),
            "ratio_to_none": ratio(per_s[name], per_s[WITHOUT]),
            "p50_ms": took_ms[len(took_ms) // 2],
            "p99_ms": took_ms[len(took_ms) * 99 // 100],
            "cpu_ms": 1000 * statistics.median(spent[name]) / settings.calls,
            "cpu_ratio": ratio(spent[name], spent[WITHOUT]),
            "other_than_201": sum(
                count for story in of for (_, status), count in story.answers.items() if status != 201
            ),
        }


def cpu_seconds(pid: int) -> float:
    """What a process has used of a processor: what else the machine does matters less to it than to throughput."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
