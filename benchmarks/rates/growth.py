"""The server's microseconds as there are more keys, and as limits are higher, in turns with one GET and one SET."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Sequence

import redis

from benchmarks.rates import contenders
from benchmarks.rates.contenders import Hit, RateSettings
from benchmarks.report import Row
from benchmarks.rounds import ratio
from benchmarks.server_time import GET_AND_SET, REFERENCE, Subject, microseconds
from riskscale.rate.limit import ALGORITHMS, Algorithm

RIVALS = ("limits moving window", "pyrate-limiter log")
"""Logs, whose cost may grow with the limit."""
DRAWN = 10_000
"""Keys of many that are used, by chance."""
_COPY = """
local value, life = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
for number = ARGV[1], ARGV[2] do redis.call('SET', string.gsub(KEYS[1], 'template', number, 1), value, 'PX', life) end
"""
"""Many keys like one; it builds their names, as no script of the library would."""


def by_keys(url: str, settings: RateSettings) -> list[Row]:
    """One algorithm after the other: as many keys as said, one hit each on keys drawn from all of them."""
    rows: list[Row] = []
    with contenders.patient(url) as client:
        for algorithm in ALGORITHMS:
            for size in settings.sizes():
                client.flushdb()
                subject = _among(client, algorithm, size, settings)
                us, quotient = _beside(client, settings, subject, _reference(client, size))
                rows.append({"name": f"riskscale {algorithm}", "tenants": size, "us": us, "ratio_to_get_set": quotient})
        client.flushdb()
    return rows


def by_limit(url: str, settings: RateSettings) -> list[Row]:
    """Each limit half used, then hit once and again; and used up, then asked for all of it."""
    with contenders.patient(url) as client:
        rows = [
            _at_limit(client, url, name, count, settings)
            for name in (*(f"riskscale {algorithm}" for algorithm in ALGORITHMS), *RIVALS)
            for count in settings.sizes()
        ]
        client.flushdb()
        return rows


def _at_limit(client: redis.Redis, url: str, name: str, count: int, settings: RateSettings) -> Row:
    client.flushdb()
    hit = (contenders.ours(client, count) | contenders.rivals(url, client, count))[name]
    reference = _reference(client, 1)
    tenants = [f"tenant-{number}" for number in range(settings.rounds * settings.calls // (count // 2) + 1)]
    for tenant in tenants:
        assert hit(tenant, count // 2)
    assert hit("full", count)
    us_admitted, ratio_admitted = _beside(client, settings, _each(hit, tenants, True), reference)
    us_refused, ratio_refused = _beside(client, settings, _each(hit, ["full"], False, count), reference)
    return {
        "name": name,
        "limit": count,
        "us_admitted": us_admitted,
        "ratio_admitted": ratio_admitted,
        "us_refused": us_refused,
        "ratio_refused": ratio_refused,
    }


def _among(client: redis.Redis, algorithm: Algorithm, size: int, settings: RateSettings) -> Subject:
    """Hits on logs small enough that a million fit into memory, with room for what these keys get."""
    count = 20 + 3 * settings.rounds * settings.calls // size
    hit = contenders.ours(client, count)[f"riskscale {algorithm}"]
    assert hit("template", 1)
    (template,) = client.keys()
    copy, step = client.register_script(_COPY), 10_000
    for first in range(0, size, step):
        copy(keys=[template], args=[first, min(first + step, size) - 1])
    return _each(hit, _drawn(size), True)


def _reference(client: redis.Redis, size: int) -> Subject:
    names = [f"bench:{number}" for number in _drawn(size)]
    client.mset(dict.fromkeys(names, "1755123456789012"))
    sha, following = client.script_load(GET_AND_SET), itertools.cycle(names)
    return Subject(REFERENCE, lambda: client.evalsha(sha, 1, next(following), "1755123456789012"))


def _each(hit: Hit, tenants: Sequence[str], admitted: bool, cost: int = 1) -> Subject:
    """One hit after the other, round the tenants."""
    following = itertools.cycle(tenants)

    def act() -> None:
        assert bool(hit(next(following), cost)) is admitted

    return Subject(tenants[0], act)


def _drawn(size: int) -> list[str]:
    """Some of so many keys, in any order."""
    return [str(number) for number in random.sample(range(size), min(size, DRAWN))]


def _beside(client: redis.Redis, settings: RateSettings, subject: Subject, reference: Subject) -> tuple[float, float]:
    """The subject's microseconds, and how many times those of the reference they are."""
    pairs = [
        (microseconds(client, subject, settings.calls), microseconds(client, reference, settings.calls))
        for _ in range(settings.rounds)
    ]
    taken, base = map(list, zip(*pairs, strict=True))
    return statistics.median(taken), ratio(taken, base)
