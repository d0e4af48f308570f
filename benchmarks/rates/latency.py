"""How long one caller waits for one decision, beside a bare call, each after the same idle time."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Final

import redis

from benchmarks.client_side import AsyncOperation, with_bare_async
from benchmarks.rates import callers
from benchmarks.rates.contenders import RateSettings
from benchmarks.rates.parsers import PARSERS
from benchmarks.report import Row
from benchmarks.rounds import turns
from benchmarks.wire import Shape

IDLE: Final = 0.003
"""Seconds before each call."""


def one_caller(url: str, settings: RateSettings) -> list[Row]:
    """asyncio; by redis-py's parser."""
    return [row for parser in PARSERS for row in _one_caller(url, parser, settings)]


def _one_caller(url: str, parser: str, settings: RateSettings) -> list[Row]:
    with callers.loop(url, parser, 1) as (runner, client, hub), redis.Redis.from_url(url) as observer:
        acts, shapes = with_bare_async(runner, client, observer, callers.singles(url, client, hub))
        rounds = [runner.run(_samples(acts, settings.samples)) for _ in range(settings.rounds)]
        taken = {name: [each[name] for each in rounds] for name in acts}
    first = next(iter(shapes.values()))
    rows = [_row("bare EVALSHA", taken[first], taken[first])]
    rows += [_row(name, taken[name], taken[own]) for name, own in shapes.items()]
    return [{"parser": parser} | row for row in rows]


async def _samples(acts: dict[str | Shape, AsyncOperation], count: int) -> dict[str | Shape, list[float]]:
    """Seconds of so many calls of each; they take turns call by call, so that all rest alike."""
    taken: dict[str | Shape, list[float]] = {name: [] for name in acts}
    for names in turns(list(acts), count):
        for name in names:
            await asyncio.sleep(IDLE)
            start = time.perf_counter()
            await acts[name]()
            taken[name].append(time.perf_counter() - start)
    return taken


def _row(name: str, taken: list[list[float]], bare: list[list[float]]) -> Row:
    everything = [seconds for samples in taken for seconds in samples]
    ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(taken, bare, strict=True)]
    return {
        "name": name,
        "median_us": 1e6 * statistics.median(everything),
        "p99_us": 1e6 * statistics.quantiles(everything, n=100, method="inclusive")[98],
        "ratio_to_bare": statistics.median(ratios),
    }
