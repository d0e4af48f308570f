"""Operations a second, beside a bare EVALSHA of ``return 1`` by the same kind of client."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis
import redis.asyncio

from benchmarks import contenders
from benchmarks.contenders import AsyncOperation, Operation
from benchmarks.report import Row
from benchmarks.rounds import Settings, Work, ratio, seconds_per_operation
from benchmarks.wire import Shape, sent, shape

BARE = "return 1"


def blocking(url: str, settings: Settings) -> list[Row]:
    """One thread, one connection."""
    with redis.Redis.from_url(url) as client:
        singles = contenders.ours(client) | contenders.rivals(url, client)
        return beside_bare(client, singles, settings, contenders.batches(client))


def concurrent(url: str, settings: Settings) -> list[Row]:
    """One event loop, some callers that each ask again as soon as they are answered."""
    with asyncio.Runner() as runner, redis.Redis.from_url(url) as observer:
        client = redis.asyncio.Redis.from_url(url, max_connections=2 * max(settings.callers))
        acts = contenders.ours_async(client) | contenders.rivals_async(url, client)
        rows = beside_bare_async(runner, client, observer, acts, settings)
        runner.run(client.aclose())
        return rows


def beside_bare(
    client: redis.Redis,
    singles: Mapping[str, Operation],
    settings: Settings,
    many: Mapping[str, Operation] | None = None,
) -> list[Row]:
    """Each operation, and each of a batch's decisions, beside as many bare calls of the same shape."""
    acts = {**singles, **(many or {})}
    seen = {name: _round_trips(client, act) for name, act in acts.items()}
    shapes = {name: shape(seen[name]) for name in singles}
    works: dict[str | Shape, Work] = {name: _repeated(act) for name, act in acts.items()}
    for each in set(shapes.values()):
        works[each] = _repeated(_bare(client, each))
    taken = seconds_per_operation(works, settings)
    rows = [_bare_row(shapes, taken)]
    for name in acts:
        decisions = 1 if name in singles else contenders.BATCH
        alone = shapes[name.removesuffix(f" hit_many {decisions}")]
        rows.append(_row(name, taken[name], taken[alone], decisions) | {"round_trips": len(seen[name]) / decisions})
    return rows


def beside_bare_async(
    runner: asyncio.Runner, client: Any, observer: redis.Redis, acts: Mapping[str, AsyncOperation], settings: Settings
) -> list[Row]:
    """The same for asyncio, by as many concurrent callers as the settings say."""
    shapes: dict[str, Shape] = {}
    for name, act in acts.items():
        shapes[name] = shape(_round_trips(observer, lambda act=act: runner.run(_spread(act, 1, 1))))  # type: ignore[misc]
    everything: dict[str | Shape, AsyncOperation] = dict(acts.items())
    for each in set(shapes.values()):
        everything[each] = _bare_async(client, observer.script_load(BARE), each)
    rows: list[Row] = []
    for callers in settings.callers:
        rows += _at(runner, everything, shapes, callers, settings)
    return rows


def _at(
    runner: asyncio.Runner,
    acts: Mapping[str | Shape, AsyncOperation],
    shapes: dict[str, Shape],
    callers: int,
    settings: Settings,
) -> list[Row]:
    def work(act: AsyncOperation) -> Work:
        return lambda count: runner.run(_spread(act, callers, count))

    for act in acts.values():  # every connection is made before the clock runs
        work(act)(4 * callers)
    taken = seconds_per_operation({name: work(act) for name, act in acts.items()}, settings)
    rows = [_bare_row(shapes, taken)]
    for name, alone in shapes.items():
        rows.append(_row(name, taken[name], taken[alone], 1) | {"round_trips": float(len(alone))})
    return [{"callers": callers} | row for row in rows]


async def _spread(act: Callable[[], Awaitable[object]], callers: int, count: int) -> None:
    """``count`` operations, shared out among the callers."""

    async def caller(share: int) -> None:
        for _ in range(share):
            await act()

    least, more = divmod(count, callers)
    await asyncio.gather(*(caller(least + (number < more)) for number in range(callers)))


def _bare_row(shapes: Mapping[str, Shape], taken: Mapping[str | Shape, list[float]]) -> Row:
    """The bare calls that the first operation is held against."""
    alone = next(iter(shapes.values()))
    name = "bare EVALSHA" if len(alone) == 1 else f"{len(alone)} bare EVALSHA"
    return _row(name, taken[alone], taken[alone], 1) | {"round_trips": float(len(alone))}


def _row(name: str, taken: list[float], bare: list[float], decisions: int) -> Row:
    rate = decisions / statistics.median(taken)
    return {"name": name, "ops_per_s": rate, "ratio_to_bare": decisions * ratio(bare, taken)}


def _repeated(act: Operation) -> Work:
    def work(count: int) -> None:
        for _ in range(count):
            act()

    return work


def _round_trips(client: Any, act: Operation) -> list[list[bytes]]:
    act()  # the first call loads scripts and connects
    return sent(client, act)


def bare_words(sha: str, keys: int, arguments: int) -> tuple[Any, ...]:
    """What is sent in place of the real words: keys of a usual length, numbers as arguments."""
    return sha, keys, *(f"bench:rs1:{{tenant}}:rate:{number}" for number in range(keys)), *("1000000",) * arguments


def _bare(client: Any, like: Shape) -> Operation:
    sha = client.script_load(BARE)
    calls = [bare_words(sha, *each) for each in like]

    def act() -> None:
        for words in calls:
            client.evalsha(*words)

    return act


def _bare_async(client: Any, sha: str, like: Shape) -> AsyncOperation:
    calls = [bare_words(sha, *each) for each in like]

    async def act() -> None:
        for words in calls:
            await client.evalsha(*words)

    return act
