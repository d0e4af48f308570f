"""The server's microseconds per decision, alone and in a call of many, beside a script of one GET and one SET.

Next to it stand floors: scripts that do an algorithm's commands and reply a line of four integers, but decide nothing.
What a decision costs above its floor is logic.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import redis

import riskscale.sync
from benchmarks.rates import contenders
from benchmarks.rates.contenders import BATCH, RateSettings
from benchmarks.report import Row
from benchmarks.server_time import Subject, beside_get_and_set, script
from riskscale.rate.limit import ALGORITHMS, Limit

FULL: Final = 100
"""Units of the limits that refuse."""

_TIME: Final = "local time = redis.call('TIME') local now = time[1] * 1000000 + time[2] "
_GCRA_FLOOR: Final = "redis.call('GET', key) redis.call('SET', key, ARGV[1], 'PX', 86400000) "
_LOG_FLOOR: Final = (
    "redis.call('GETRANGE', key, 0, 30) redis.call('SETRANGE', key, 38, '7 bytes') "
    "redis.call('SETRANGE', key, 18, '13 of 31 bytes') "
)


def _floor(commands: str) -> str:
    each = f"{commands} reply[#reply + 1] = string.format('%d %d %d', 0, now, #reply)"
    return f"{_TIME} local reply = {{ now }} for _, key in ipairs(KEYS) do {each} end return table.concat(reply, ' ')"


FLOORS: Final = {
    "floor: TIME, GET, SET PX": _floor(_GCRA_FLOOR),
    "floor: TIME, GETRANGE, 2 SETRANGE": _floor(_LOG_FLOOR),
}


def server_time(url: str, settings: RateSettings) -> list[Row]:
    """All in turns."""
    with redis.Redis.from_url(url) as client:
        subjects = [*_floors(client), *_admitted(url, client), *_refused(client)]
        return beside_get_and_set(client, subjects, settings)


def _floors(client: redis.Redis) -> Iterator[Subject]:
    yield script(client, "floor: return 1", "return 1", ["bench:floor"])
    for name, text in FLOORS.items():
        for size in (1, BATCH):
            yield script(client, name, text, [f"bench:{name}-{number}" for number in range(size)])


def _admitted(url: str, client: redis.Redis) -> Iterator[Subject]:
    for name, hit in (contenders.ours(client) | contenders.rivals(url, client)).items():
        yield Subject(name, contenders.in_turn(hit))
    for name, act in contenders.batches(client).items():
        yield Subject(name, act, BATCH)


def _refused(client: redis.Redis) -> Iterator[Subject]:
    hub = riskscale.sync.Hub(client, key_prefix="bench:full:")
    tenants = contenders.TENANTS[:BATCH]
    for algorithm in ALGORITHMS:
        limiter = riskscale.sync.RateLimiter(hub, Limit(FULL, per=contenders.DAY, algorithm=algorithm))
        limiter.hit_many([(tenant, FULL) for tenant in tenants])
        name = f"riskscale {algorithm}"
        yield Subject(name, partial(limiter.hit, tenants[0]), 1, "refused")
        yield Subject(name, partial(limiter.hit_many, tenants), BATCH, "refused")
