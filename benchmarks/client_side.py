"""Operations beside a bare EVALSHA of ``return 1`` with as many keys and arguments, by the same client."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from benchmarks.report import Row
from benchmarks.rounds import Settings, Work, ratio, seconds_per_operation
from benchmarks.wire import Shape, sent, shape

Operation = Callable[[], object]
AsyncOperation = Callable[[], Awaitable[object]]

BARE = "return 1"


@dataclass(frozen=True, slots=True)
class Batches:
    """Operations that make ``size`` decisions each; they are held against the bare call of the first single one."""

    acts: Mapping[str, Any]
    size: int


NO_BATCHES = Batches({}, 1)


def beside_bare(
    client: redis.Redis, singles: Mapping[str, Operation], settings: Settings, batches: Batches = NO_BATCHES
) -> list[Row]:
    """Each operation, and each of a batch's decisions, beside as many bare calls of the same shape."""
    acts = {**singles, **batches.acts}
    shapes = {name: shape(_round_trips(client, act)) for name, act in acts.items()}
    works: dict[str | Shape, Work] = {name: _repeated(act) for name, act in acts.items()}
    for each in {shapes[name] for name in singles}:
        works[each] = _repeated(_bare(client, each))
    return _rows(shapes, batches, seconds_per_operation(works, settings))


def beside_bare_async(
    runner: asyncio.Runner,
    client: Any,
    observer: redis.Redis,
    singles: Mapping[str, AsyncOperation],
    settings: Settings,
    batches: Batches = NO_BATCHES,
) -> list[Row]:
    """The same for asyncio, by as many concurrent callers as the settings say."""
    acts, shapes = with_bare_async(runner, client, observer, {**singles, **batches.acts})
    rows: list[Row] = []
    for callers in settings.callers:
        rounds = seconds_per_operation(_works(runner, acts, callers), settings)
        taken = {name: [seconds / callers for seconds in each] for name, each in rounds.items()}
        rows += [{"callers": callers} | row for row in _rows(shapes, batches, taken)]
    return rows


def with_bare_async(
    runner: asyncio.Runner, client: Any, observer: redis.Redis, acts: Mapping[str, AsyncOperation]
) -> tuple[dict[str | Shape, AsyncOperation], dict[str, Shape]]:
    """The operations and, by their shapes, the bare calls that they are held against; and which has which shape."""
    shapes: dict[str, Shape] = {}
    for name, act in acts.items():
        shapes[name] = shape(_round_trips(observer, lambda act=act: runner.run(spread(act, 1, 1))))  # type: ignore[misc]
    sha = observer.script_load(BARE)
    return {**acts, **{each: _bare_async(client, sha, each) for each in shapes.values()}}, shapes


def _works(runner: asyncio.Runner, acts: Mapping[str | Shape, AsyncOperation], callers: int) -> dict[str | Shape, Work]:
    """Of which each operation is one by each caller."""

    def work(act: AsyncOperation) -> Work:
        return lambda times: runner.run(spread(act, callers, times))

    for act in acts.values():  # every connection is made before the clock runs
        work(act)(4)
    return {name: work(act) for name, act in acts.items()}


async def spread(act: Callable[[], Awaitable[object]], callers: int, times: int) -> None:
    """The operation, so many times by each of the callers."""

    async def caller() -> None:
        for _ in range(times):
            await act()

    await asyncio.gather(*(caller() for _ in range(callers)))


def _rows(shapes: dict[str, Shape], batches: Batches, taken: Mapping[str | Shape, list[float]]) -> list[Row]:
    first = next(iter(shapes.values()))
    rows = [_row("bare EVALSHA" if len(first) == 1 else f"{len(first)} bare EVALSHA", first, taken, first)]
    for name, own in shapes.items():
        is_batch = name in batches.acts
        rows.append(_row(name, own, taken, first if is_batch else own, batches.size if is_batch else 1))
    return rows


def _row(name: str, own: Shape, taken: Mapping[str | Shape, list[float]], bare: Shape, decisions: int = 1) -> Row:
    seconds = taken[name] if name in taken else taken[own]
    return {
        "name": name,
        "ops_per_s": decisions / statistics.median(seconds),
        "ratio_to_bare": decisions * ratio(taken[bare], seconds),
        "round_trips": len(own) / decisions,
    }


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
