"""How many calls all replicas together let through when the time is over for which the breaker was open."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from benchmarks.breakers.contenders import (
    FAILURES,
    LIBRARIES,
    OURS,
    REFUSALS,
    BreakerSettings,
    Down,
    Guard,
    Replica,
    failures_in_a_row,
    new_name,
)
from benchmarks.report import Row

OPEN: Final = 2.5
"""Seconds; some libraries keep whole ones, and end up to one early."""
KNOWN: Final = 1.2
"""Seconds after which even those know of a change who ask once a second."""
TRYING: Final = 0.5
"""Seconds for which all try, and a call that is let through lasts."""


def half_open(url: str, settings: BreakerSettings) -> list[Row]:
    """Every replica tries again and again, as long as none of the calls let through has ended."""
    return asyncio.run(_half_open(url, settings))


async def _half_open(url: str, settings: BreakerSettings) -> list[Row]:
    replicas = [Replica(url) for _ in range(settings.replicas)]
    rows: list[Row] = []
    for permits in settings.permits:
        name, policy = new_name(), failures_in_a_row(OPEN, permits=permits)
        rows.append(await _row(OURS, permits, [replica.ours(name, policy) for replica in replicas]))
    for library in LIBRARIES:
        name = new_name()
        rows.append(await _row(library, 1, [await replica.guard(library, name, OPEN) for replica in replicas]))
    for replica in replicas:
        await replica.close()
    return rows


async def _row(library: str, permits: int, guards: list[Guard]) -> Row:
    for guard in guards:
        await guard(_nothing)
    for _ in range(FAILURES):
        with suppress(Down, *REFUSALS):
            await guards[0](_fail)
    await asyncio.sleep(KNOWN)
    before = await _let_through(guards, 0)
    await asyncio.sleep(OPEN - KNOWN + 0.2)
    through = await _let_through(guards, TRYING)
    return {"name": library, "replicas": len(guards), "permits": permits, "while_open": before, "let_through": through}


async def _let_through(guards: list[Guard], seconds: float) -> int:
    """Of all calls within so many seconds, one at the least by each."""
    through = 0
    end = asyncio.get_running_loop().time() + seconds

    async def try_it() -> None:
        nonlocal through
        through += 1
        await asyncio.sleep(seconds + 0.1)

    async def try_on(guard: Guard) -> None:
        while True:
            with suppress(*REFUSALS):
                await guard(try_it)
            if asyncio.get_running_loop().time() >= end:
                return
            await asyncio.sleep(0.01)

    await asyncio.gather(*map(try_on, guards))
    return through


async def _nothing() -> None:
    pass


async def _fail() -> None:
    raise Down
