"""What reports cost the server: its time in the script, and all of its time, by its own account."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any, Final

import redis

import riskscale.sync
from benchmarks.breakers.contenders import BreakerSettings, failures_in_a_row, new_name
from benchmarks.report import Row
from benchmarks.rounds import ratio, turns
from benchmarks.server_time import GET_AND_SET, processor_seconds
from benchmarks.wire import cost
from riskscale._core.scripts import script
from riskscale.breaker import calls
from riskscale.breaker._model import Item, Known
from riskscale.breaker.calls import BreakerKeys
from riskscale.breaker.state import Counts

NODES: Final = 100
BATCH: Final = 100
"""Sent at a time."""
PER_SECOND: Final = 10_000
KINDS: Final = {
    "nothing to tell": [Item(0, Counts())],
    "calls of one slice": [Item(0, Counts(50, 1))],
    "calls of ten slices": [Item(age * 5_000_000, Counts(50, 1)) for age in range(10)],
}
REFERENCE: Final = "GET and SET"

Words = list[Any]


def cost_of_reports(url: str, settings: BreakerSettings) -> list[Row]:
    """By as many replicas in turn, of one breaker that stays closed."""
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client) as hub:
        hub.preload(["breaker.report"])
        sources = {kind: _reports(hub, items) for kind, items in KINDS.items()}
        sources[REFERENCE] = _references(client)
        spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in sources}
        for kinds in turns(list(sources), min(settings.rounds, 3)):
            for kind in kinds:
                spent[kind].append(_spent(client, sources[kind], settings.reports))
    in_script = {kind: [script_us for script_us, _ in each] for kind, each in spent.items()}
    return [
        {
            "report": kind,
            "script_us": statistics.median(in_script[kind]),
            "ratio_to_get_set": ratio(in_script[kind], in_script[REFERENCE]),
            "server_us": statistics.median(cpu_us for _, cpu_us in each),
            f"percent_of_a_core_at_{PER_SECOND}_per_s": statistics.median(cpu for _, cpu in each) * PER_SECOND / 1e4,
        }
        for kind, each in spent.items()
    ]


def _reports(hub: riskscale.sync.Hub, items: list[Item]) -> Iterator[Words]:
    """For ever: each node's next report."""
    keys, rules = BreakerKeys.of(hub.key(new_name())), failures_in_a_row().rules
    known, sequence = Known(1), 0
    while True:
        sequence += 1
        for node in range(NODES):
            call = calls.report(keys, f"node-{node}", sequence, known, 0, False, items, None, rules, 0, "")
            yield [script(call.script).sha, len(call.keys), *call.keys, *call.args, ""]


def _references(client: redis.Redis) -> Iterator[Words]:
    sha = client.script_load(GET_AND_SET)
    while True:
        yield [sha, 1, "bench:reference", "1755123456789012"]


def _spent(client: redis.Redis, source: Iterator[Words], count: int) -> tuple[float, float]:
    """Microseconds each: in the script, and of the server's processor in all."""

    def act() -> None:
        for _ in range(0, count, BATCH):
            with client.pipeline(transaction=False) as pipe:
                for _ in range(BATCH):
                    pipe.evalsha(*next(source))
                pipe.execute()

    before = processor_seconds(client)
    in_script = cost(client, act).us["evalsha"]
    return in_script / count, 1e6 * (processor_seconds(client) - before) / count
