"""The server's microseconds per decision, from INFO commandstats, one call at a time (nothing is pipelined).

The measure is a script of one GET and one SET. Next to it stand floors: scripts that do an algorithm's commands and
reply four integers, but decide nothing. What a decision costs above its floor is logic.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import redis

import riskscale.sync
from benchmarks import contenders
from benchmarks.report import Row
from benchmarks.rounds import Settings, ratio, turns
from benchmarks.wire import cost
from riskscale.rate.limit import ALGORITHMS, Limit

BATCH: Final = contenders.BATCH
FULL: Final = 100
"""Units of the limits that refuse."""

REFERENCE: Final = "GET and SET"
GET_AND_SET: Final = "redis.call('GET', KEYS[1]) return redis.call('SET', KEYS[1], ARGV[1])"
_TIME: Final = "local time = redis.call('TIME') local now = time[1] * 1000000 + time[2] "
_GCRA_FLOOR: Final = "redis.call('GET', key) redis.call('SET', key, ARGV[1], 'PX', 86400000) "
_LOG_FLOOR: Final = (
    "redis.call('GETRANGE', key, 0, 30) redis.call('SETRANGE', key, 38, '7 bytes') "
    "redis.call('SETRANGE', key, 18, '13 of 31 bytes') "
)
_REPLY: Final = "reply[#reply + 1] = 0 reply[#reply + 1] = 1 reply[#reply + 1] = 2 "


def _floor(commands: str) -> str:
    return f"{_TIME} local reply = {{ now }} for _, key in ipairs(KEYS) do {commands} {_REPLY} end return reply"


FLOORS: Final = {
    "floor: return 1": "return 1",
    "floor: TIME, GET, SET PX": _floor(_GCRA_FLOOR),
    "floor: TIME, GETRANGE, 2 SETRANGE": _floor(_LOG_FLOOR),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Something whose scripts are timed: one call makes so many decisions."""

    act: Callable[[], object]
    decisions: int = 1


def server_time(url: str, settings: Settings) -> list[Row]:
    """All subjects in turns."""
    with redis.Redis.from_url(url) as client:
        subjects = _references(client) | _admitted(client) | _refused(client) | _rivals(url, client)
        taken: dict[str, list[float]] = {name: [] for name in subjects}
        for each in subjects.values():
            each.act()
        for names in turns(list(subjects), settings.rounds):
            for name in names:
                taken[name].append(microseconds(client, subjects[name], settings.calls))
    return [
        {"name": name, "us_per_decision": statistics.median(us), "ratio_to_get_set": ratio(us, taken[REFERENCE])}
        for name, us in taken.items()
    ]


def microseconds(client: redis.Redis, subject: Subject, calls: int) -> float:
    """Of the server, per decision, over so many calls (fewer of batches: as many decisions would take long)."""
    repeats = calls if subject.decisions == 1 else max(3, calls // 5)

    def work() -> None:
        for _ in range(repeats):
            subject.act()

    return cost(client, work).total_us / repeats / subject.decisions


def script(client: redis.Redis, text: str, keys: list[str]) -> Subject:
    """A script of its own over some keys, with one argument of sixteen digits."""
    sha = client.script_load(text)
    return Subject(lambda: client.evalsha(sha, len(keys), *keys, "1755123456789012"), len(keys))


def _references(client: redis.Redis) -> dict[str, Subject]:
    found = {REFERENCE: script(client, GET_AND_SET, ["bench:reference"])}
    for number, (name, text) in enumerate(FLOORS.items()):
        found[name] = script(client, text, [f"bench:floor-{number}"])
        if "key" in text:
            found[f"{name}, batch of {BATCH}"] = script(
                client, text, [f"bench:floor-{number}-{i}" for i in range(BATCH)]
            )
    return found


def _admitted(client: redis.Redis) -> dict[str, Subject]:
    found = {name: Subject(act, 2 if "cycle" in name else 1) for name, act in contenders.ours(client).items()}
    many = {name: Subject(act, BATCH) for name, act in contenders.batches(client).items()}
    return _named(found | many, "admitted")


def _refused(client: redis.Redis) -> dict[str, Subject]:
    hub = riskscale.sync.Hub(client, key_prefix="bench:full:")
    tenants = [f"tenant-{number}" for number in range(BATCH)]
    found = {}
    for algorithm in ALGORITHMS:
        limiter = riskscale.sync.RateLimiter(hub, Limit(FULL, per=contenders.DAY, algorithm=algorithm))
        limiter.hit_many([(tenant, FULL) for tenant in tenants])
        found[f"riskscale {algorithm}"] = Subject(lambda each=limiter: each.hit("tenant-0"))  # type: ignore[misc]
        found[f"riskscale {algorithm} hit_many {BATCH}"] = Subject(
            lambda each=limiter: each.hit_many(tenants),  # type: ignore[misc]
            BATCH,
        )
    return _named(found, "refused")


def _rivals(url: str, client: redis.Redis) -> dict[str, Subject]:
    acts = contenders.rivals(url, client)
    return _named({name: Subject(act) for name, act in acts.items() if "cycle" not in name}, "admitted")


def _named(subjects: dict[str, Subject], outcome: str) -> dict[str, Subject]:
    """With the outcome in the name; a lock's cycle is two scripts, and is told per script."""
    return {
        name.replace("cycle", "acquire, release") if "cycle" in name else f"{name}, {outcome}": subject
        for name, subject in subjects.items()
    }
