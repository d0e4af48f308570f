"""The server's time in a report and in a snapshot, beside a script of one GET and one SET."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

import riskscale.sync
from benchmarks.fleet.settings import FleetSettings
from benchmarks.report import Row
from benchmarks.server_time import Subject, beside_get_and_set, processor_seconds
from riskscale._core.call import Call
from riskscale.fleet import calls
from riskscale.fleet.calls import FleetKeys, Terms
from riskscale.fleet.histogram import bucket_of
from riskscale.fleet.outbox import Batch

TERMS = Terms(ttl_us=3_600_000_000, window_us=60_000_000)
INTERVAL_S = 5
REQUESTS = (10, 1000, 100_000)


@dataclass(slots=True)
class Fleet:
    """So many replicas, whose last minute was reported."""

    hub: riskscale.sync.Hub
    replicas: int
    keys: FleetKeys = field(init=False)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.keys = FleetKeys.of(self.hub.key(f"bench-{secrets.token_hex(6)}"))
        for at in range(max(12, self.replicas)):  # each at another time, so that all slices are there
            self.hub.run(self.report(f"replica-{at % self.replicas}", histogram(1000), age_us=at % 12 * 5_000_000))

    def report(self, replica: str, counts: dict[int, int], *, age_us: int = 0) -> Call[bool]:
        batch = Batch(next(self.numbers), 0.0, 0.0, counts, 3, 500_000, 7, True, False)
        return calls.report(self.keys, replica, TERMS, batch, age_us)

    def reports(self, requests: int) -> Callable[[], object]:
        """One report of a replica, each time of another one."""
        counts = histogram(requests)
        names = itertools.cycle(f"replica-{at}" for at in range(self.replicas))
        return lambda: self.hub.run(self.report(next(names), counts))

    def snapshot(self) -> object:
        return self.hub.run(calls.snapshot(self.keys, TERMS))


def histogram(requests: int) -> dict[int, int]:
    """Of latencies around 20 ms, log-normal, a few of them a hundred times as long."""
    chance, counts = random.Random(requests), dict[int, int]()
    for _ in range(requests):
        bucket = bucket_of(round(1e6 * chance.lognormvariate(-3.9, 0.7)))
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def cost(url: str, settings: FleetSettings) -> list[Row]:
    """Of one report by the requests in it, and of one snapshot by the replicas."""
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client) as hub:
        fleets = [Fleet(hub, replicas) for replicas in settings.replicas]
        reports = [
            Subject(
                f"report of {len(histogram(requests))} buckets",
                fleets[-1].reports(requests),
                outcome=f"{requests:,} requests",
            )
            for requests in REQUESTS
        ]
        snapshots = [Subject("snapshot", each.snapshot, outcome=f"{each.replicas:,} replicas") for each in fleets]
        subjects = [*reports, *snapshots]
        rows = beside_get_and_set(client, subjects, settings)
        for row, subject in zip(rows[1:], subjects, strict=True):
            row["processor_us"] = _processor_us(client, subject, settings.calls)
            if subject in reports:
                row["percent_of_a_core_at_1000_replicas"] = row["processor_us"] * 1000 / INTERVAL_S / 1e4
        client.unlink(*(key for each in fleets for key in each.keys.all))
    return rows


def _processor_us(client: redis.Redis, subject: Subject, calls: int) -> float:
    """What the server really spent on it, its protocol included, whoever else was at work on the machine."""
    before = processor_seconds(client)
    for _ in range(calls):
        subject.act()
    return 1e6 * (processor_seconds(client) - before) / calls
