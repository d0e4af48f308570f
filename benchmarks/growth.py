"""The server's microseconds as there are more keys, and as limits are higher, in turns with one GET and one SET."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence

import redis

import riskscale.sync
from benchmarks import contenders
from benchmarks.report import Row
from benchmarks.rounds import Settings, ratio
from benchmarks.server_side import GET_AND_SET, Subject, microseconds
from riskscale.rate.calls import Decision
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit

DRAWN = 10_000
"""Keys of many that are used, by chance."""
_COPY = """
local value, life = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
for number = ARGV[1], ARGV[2] do redis.call('SET', string.gsub(KEYS[1], 'template', number, 1), value, 'PX', life) end
"""
"""Many keys like one; it builds their names, as no script of the library would."""


def by_keys(url: str, settings: Settings) -> list[Row]:
    """One algorithm after the other: as many keys as said, one hit each on keys drawn from all of them."""
    rows: list[Row] = []
    with redis.Redis.from_url(url) as client:
        for algorithm in ALGORITHMS:
            for size in settings.sizes():
                client.flushdb()
                subject = _among(client, algorithm, size, settings)
                us, quotient = _beside(client, settings, subject, _reference(client, size))
                rows.append({"name": algorithm, "keys": size, "us": us, "ratio_to_get_set": quotient})
        client.flushdb()
    return rows


def by_limit(url: str, settings: Settings) -> list[Row]:
    """Each limit half used, then hit once and again; and used up, then asked for all of it."""
    rows: list[Row] = []
    calls = settings.rounds * settings.calls
    with redis.Redis.from_url(url) as client:
        for algorithm in ALGORITHMS:
            for count in settings.sizes():
                client.flushdb()
                reference = _reference(client, 1)
                limiter = _limiter(client, Limit(count, per=contenders.DAY, algorithm=algorithm))
                tenants = [f"tenant-{number}" for number in range(calls // (count // 2) + 1)]
                limiter.hit_many([(tenant, count // 2) for tenant in tenants])
                assert limiter.hit("full", count)
                admitted = _beside(client, settings, _each(limiter, tenants, True), reference)
                refused = _beside(client, settings, _each(limiter, ["full"], False, count), reference)
                row: Row = {
                    "name": algorithm,
                    "limit": count,
                    "us_admitted": admitted[0],
                    "ratio_admitted": admitted[1],
                }
                rows.append(row | {"us_refused": refused[0], "ratio_refused": refused[1]})
        client.flushdb()
    return rows


def _among(client: redis.Redis, algorithm: Algorithm, size: int, settings: Settings) -> Subject:
    """Hits on logs small enough that a million fit into memory, with room for what these keys get."""
    count = 20 + 3 * settings.rounds * settings.calls // size
    limiter = _limiter(client, Limit(count, per=contenders.DAY, algorithm=algorithm))
    assert limiter.hit("template")
    (template,) = client.keys()
    copy, step = client.register_script(_COPY), 10_000
    for first in range(0, size, step):
        copy(keys=[template], args=[first, min(first + step, size) - 1])
    return _each(limiter, _drawn(size), True)


def _reference(client: redis.Redis, size: int) -> Subject:
    names = [f"bench:{number}" for number in _drawn(size)]
    client.mset(dict.fromkeys(names, "1755123456789012"))
    sha, following = client.script_load(GET_AND_SET), _forever(names)
    return Subject(lambda: client.evalsha(sha, 1, next(following), "1755123456789012"))


def _each(limiter: riskscale.sync.RateLimiter, tenants: Sequence[str], admitted: bool, cost: int = 1) -> Subject:
    """One hit after the other, round the tenants."""
    following = _forever(tenants)

    def act() -> Decision:
        decision = limiter.hit(next(following), cost)
        assert decision.allowed is admitted
        return decision

    return Subject(act)


def _forever(items: Sequence[str]) -> Iterator[str]:
    while True:
        yield from items


def _drawn(size: int) -> list[str]:
    """Some of so many keys, in any order."""
    return [str(number) for number in random.sample(range(size), min(size, DRAWN))]


def _limiter(client: redis.Redis, limit: Limit) -> riskscale.sync.RateLimiter:
    return riskscale.sync.RateLimiter(riskscale.sync.Hub(client, key_prefix="bench:"), limit)


def _beside(client: redis.Redis, settings: Settings, subject: Subject, reference: Subject) -> tuple[float, float]:
    """The subject's microseconds, and how many times those of the reference they are."""
    pairs = [
        (microseconds(client, subject, settings.calls), microseconds(client, reference, settings.calls))
        for _ in range(settings.rounds)
    ]
    taken, base = map(list, zip(*pairs, strict=True))
    return statistics.median(taken), ratio(taken, base)
