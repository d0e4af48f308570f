"""Decisions that cost no round trip, beside ``limits`` asking the server: one caller, one tenant.

Libraries that count in one process alone stand next to them: what a decision costs where nothing is shared.
"""

from __future__ import annotations

import asyncio
import statistics
from functools import partial
from typing import Any, Final

import aiolimiter
import limits
import limits.aio
import pyrate_limiter as pyrate
import redis
import throttled.asyncio

import riskscale
from benchmarks.client_side import AsyncOperation, spread
from benchmarks.rates import contenders
from benchmarks.rates.callers import loop
from benchmarks.rates.contenders import COUNT, DAY, RateSettings
from benchmarks.rates.parsers import PARSERS
from benchmarks.report import Row
from benchmarks.rounds import Work, ratio, seconds_per_operation
from benchmarks.wire import sent
from riskscale.rate.limit import ALGORITHMS, Limit

TENANT: Final = "tenant"
MANY: Final = 10_000_000
"""Units that can be leased: more than are asked for in a run."""
BASE: Final = "limits moving window"
REFUSED: Final = "riskscale, refused here (deny_cache)"


def one_caller(url: str, settings: RateSettings) -> list[Row]:
    """asyncio; the client is redis-py as it is installed."""
    with loop(url, PARSERS[-1], 1) as (runner, client, hub), redis.Redis.from_url(url) as observer:
        shared = contenders.rivals_async(url, client)[BASE]
        hits = {BASE: shared, REFUSED: _refused(hub), **_in_this_process(), **_leased(hub)}
        acts = {name: partial(hit, TENANT, 1) for name, hit in hits.items()}
        works = {name: _work(runner, act) for name, act in acts.items()}
        # The leased ones last, and before the timing: what they ask for in advance would be counted for others.
        trips = {name: _round_trips(observer, work, settings.calls) for name, work in works.items()}
        taken = seconds_per_operation(works, settings)
        for name, hit in _leased(hub).items():
            assert runner.run(hit(TENANT, 1)), f"{name}: used up"
    return [
        {
            "name": name,
            "ops_per_s": 1 / statistics.median(seconds),
            "ratio_to_limits": ratio(taken[BASE], seconds),
            "round_trips": trips[name],
        }
        for name, seconds in taken.items()
    ]


def _round_trips(observer: redis.Redis, work: Work, calls: int) -> float:
    work(2)  # the first is admitted, and what follows is known here from the second
    return len(sent(observer, partial(work, calls))) / calls


def _refused(hub: riskscale.Hub) -> contenders.AsyncHit:
    return riskscale.RateLimiter(hub, Limit(1, per=DAY), name="once", deny_cache=True).hit


def _leased(hub: riskscale.Hub) -> dict[str, contenders.AsyncHit]:
    return {
        f"riskscale {each}, leased": riskscale.LeasedRateLimiter(hub, Limit(MANY, per=DAY, algorithm=each)).hit
        for each in ALGORITHMS
    }


def _in_this_process() -> dict[str, Any]:
    item = limits.RateLimitItemPerDay(COUNT)
    window = limits.aio.strategies.FixedWindowRateLimiter(limits.aio.storage.MemoryStorage())
    gcra = throttled.asyncio.Throttled(
        key="-", using="gcra", quota=throttled.per_day(COUNT), store=throttled.asyncio.MemoryStore()
    )
    bucket = pyrate.StateBucket([pyrate.Rate(COUNT, pyrate.Duration.DAY)], pyrate.GCRA())
    leaky = aiolimiter.AsyncLimiter(COUNT, DAY)
    return {
        "limits fixed window, in memory": lambda key, cost: window.hit(item, key, cost=cost),
        "throttled-py gcra, in memory": gcra.limit,
        "pyrate-limiter gcra, in memory": pyrate.Limiter(bucket).try_acquire_async,
        "aiolimiter": lambda key, cost: leaky.acquire(cost),
    }


def _work(runner: asyncio.Runner, act: AsyncOperation) -> Work:
    return lambda count: runner.run(spread(act, 1, count))
