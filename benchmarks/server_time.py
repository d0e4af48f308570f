"""The server's microseconds, from INFO commandstats, one call at a time (nothing is pipelined).

The measure is a script of one GET and one SET.
"""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import redis

from benchmarks.report import Row
from benchmarks.rounds import Settings, ratio, turns
from benchmarks.wire import cost

REFERENCE: Final = "GET and SET"
GET_AND_SET: Final = "redis.call('GET', KEYS[1]) return redis.call('SET', KEYS[1], ARGV[1])"


@dataclass(frozen=True, slots=True)
class Subject:
    """Something whose scripts are timed: one call makes so many decisions, all of one outcome; told is one."""

    name: str
    act: Callable[[], object]
    decisions: int = 1
    outcome: str = "admitted"


def beside_get_and_set(client: redis.Redis, subjects: Sequence[Subject], settings: Settings) -> list[Row]:
    """All subjects in turns, and the measure."""
    key = f"bench:{secrets.token_hex(6)}"
    reference = script(client, REFERENCE, GET_AND_SET, [key])
    taken: dict[Subject, list[float]] = {each: [] for each in (reference, *subjects)}
    for each in taken:
        each.act()
    for order in turns(list(taken), settings.rounds):
        for each in order:
            taken[each].append(microseconds(client, each, settings.calls))
    client.unlink(key)
    return [
        {
            "name": each.name,
            "outcome": each.outcome,
            "decisions": each.decisions,
            "us_per_decision": statistics.median(us),
            "ratio_to_get_set": ratio(us, taken[reference]),
        }
        for each, us in taken.items()
    ]


def microseconds(client: redis.Redis, subject: Subject, calls: int) -> float:
    """Of the server, per decision, over so many calls (fewer of batches: as many decisions would take long)."""
    repeats = calls if subject.decisions == 1 else max(3, calls // 5)

    def work() -> None:
        for _ in range(repeats):
            subject.act()

    return cost(client, work).total_us / repeats / subject.decisions


def processor_seconds(client: redis.Redis) -> float:
    """Of the server's main thread and its system calls, so far: all that it does, and only that."""
    info = client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def script(client: redis.Redis, name: str, text: str, keys: list[str]) -> Subject:
    """A script of its own over some keys, with one argument of sixteen digits."""
    sha = client.script_load(text)
    return Subject(name, lambda: client.evalsha(sha, len(keys), *keys, "1755123456789012"), len(keys))
