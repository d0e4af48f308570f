"""Bytes per key when a limit is used up: MEMORY USAGE, and STRLEN where it is a string."""

from __future__ import annotations

import redis

import riskscale.sync
from benchmarks.rates import contenders
from benchmarks.rates.contenders import DAY, RateSettings
from benchmarks.report import Row
from riskscale.rate.limit import ALGORITHMS, Limit

LIMITS = (100, 10_000, 1_000_000)
STEPS = 100
RIVALS = ("limits moving window", "pyrate-limiter log", "pyrate-limiter gcra", "throttled-py gcra")


def bytes_per_key(url: str, settings: RateSettings) -> list[Row]:
    """A row for each algorithm and limit; one tenant each."""
    rows: list[Row] = []
    with contenders.patient(url) as client:
        for count in filter(lambda each: each <= settings.largest, LIMITS):
            for algorithm in ALGORITHMS:
                client.flushdb()
                _fill(client, Limit(count, per=DAY, algorithm=algorithm))
                rows.append(_row(client, f"riskscale {algorithm}", count))
            hits = contenders.rivals(url, client, count)
            for name in RIVALS:
                client.flushdb()
                assert hits[name]("tenant", count)
                rows.append(_row(client, name, count))
        client.flushdb()
    return rows


def _fill(client: redis.Redis, limit: Limit) -> None:
    """In a hundred steps spread over the window by a clock of our own, so that every sub-bucket has its share."""
    now = iter(range(2**50, 2**50 + limit.window_us, limit.window_us // STEPS))
    limiter = riskscale.sync.RateLimiter(riskscale.sync.Hub(client, clock=lambda: next(now)), limit)
    for _ in range(STEPS):
        assert limiter.hit("tenant", limit.count // STEPS)


def _row(client: redis.Redis, name: str, count: int) -> Row:
    """Of all keys there are: the state of one tenant may lie in several. ``memory`` holds their names, too."""
    keys = client.keys()
    row: Row = {"name": name, "limit": count, "key_names": sum(map(len, keys))}
    if all(client.type(key) == b"string" for key in keys):
        row["payload"] = sum(client.strlen(key) for key in keys)
    return row | {"memory": sum(client.memory_usage(key, samples=0) or 0 for key in keys)}
