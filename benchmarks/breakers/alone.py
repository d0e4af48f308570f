"""What a breaker adds to a call that does nothing, while it is closed, and what a refusal takes while it is open."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import redis

import riskscale
import riskscale.sync
from benchmarks.breakers import contenders
from benchmarks.breakers.contenders import FAILURES, NAMES, OURS, REFUSALS, BreakerSettings, Down, Guard, SyncGuard
from benchmarks.report import Row
from benchmarks.rounds import Work, ratio, seconds_per_operation
from benchmarks.wire import sent

BARE = "without"


def concurrent(url: str, settings: BreakerSettings) -> list[Row]:
    """One event loop, one caller."""
    with asyncio.Runner() as runner, redis.Redis.from_url(url) as observer:
        replica = runner.run(_replica(url))
        rows: list[Row] = []
        for is_open in (False, True):
            guards = runner.run(_guards(replica, is_open))
            works = {name: _calls_async(runner, guard) for name, guard in guards.items()}
            rows += _rows(observer, {BARE: _calls_async(runner, _bare_async), **works}, is_open, settings)
        runner.run(replica.close())
        return rows


def blocking(url: str, settings: BreakerSettings) -> list[Row]:
    """One thread."""
    with redis.Redis.from_url(url) as client, riskscale.sync.Hub(client) as hub, redis.Redis.from_url(url) as observer:
        rows: list[Row] = []
        for is_open in (False, True):
            guards = contenders.blocking(hub, client, contenders.new_name())
            for guard in guards.values():
                guard(_nothing)
                for _ in range(is_open * FAILURES):
                    with suppress(Down, *REFUSALS):
                        guard(_fail)
            works = {name: _calls(guard) for name, guard in guards.items()}
            rows += _rows(observer, {BARE: _calls(_bare), **works}, is_open, settings)
        return rows


async def _replica(url: str) -> contenders.Replica:
    return contenders.Replica(url)


async def _guards(replica: contenders.Replica, is_open: bool) -> dict[str, Guard]:
    guards = {name: await replica.guard(name, contenders.new_name()) for name in NAMES}
    guards["riskscale, of one replica"] = riskscale.CircuitBreaker(FAILURES, contenders.LONG).call
    for guard in guards.values():
        await guard(_nothing_async)
        for _ in range(is_open * FAILURES):
            with suppress(Down, *REFUSALS):
                await guard(_fail_async)
    return guards


def _rows(observer: redis.Redis, works: Mapping[str, Work], is_open: bool, settings: BreakerSettings) -> Iterator[Row]:
    trips = {name: _round_trips(observer, work, settings.calls) for name, work in works.items()}
    taken = seconds_per_operation(works, settings)
    over = {name: [a - b for a, b in zip(each, taken[BARE], strict=True)] for name, each in taken.items()}
    for name in works:
        yield {
            "name": name,
            "state": "open" if is_open else "closed",
            "us": 1e6 * statistics.median(taken[name]),
            "us_over_bare": 1e6 * statistics.median(over[name]),
            "ratio_to_riskscale": ratio(taken[name], taken[OURS]),
            "round_trips": trips[name],
        }


def _round_trips(observer: redis.Redis, work: Work, calls: int) -> float:
    """A call; what goes on in the background adds one a second."""
    work(1)
    return round(len(sent(observer, lambda: work(calls))) / calls, 2)


def _calls_async(runner: asyncio.Runner, guard: Guard) -> Work:
    async def several(count: int) -> None:
        for _ in range(count):
            with suppress(*REFUSALS):
                await guard(_nothing_async)

    return lambda count: runner.run(several(count))


def _calls(guard: SyncGuard) -> Work:
    def several(count: int) -> None:
        for _ in range(count):
            with suppress(*REFUSALS):
                guard(_nothing)

    return several


async def _nothing_async() -> None:
    pass


async def _fail_async() -> None:
    raise Down


async def _bare_async(func: contenders.Func) -> object:
    return await func()


def _nothing() -> None:
    pass


def _fail() -> None:
    raise Down


def _bare(func: Callable[[], object]) -> object:
    return func()
