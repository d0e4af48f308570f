"""One process of the fleet between which the news spreads; all times are of the machine's monotonic clock."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import riskscale
from benchmarks.breakers.contenders import FAILURES, LONG, OURS, REFUSALS, Down, Guard, Replica

PACE: Final = 0.002
"""Seconds between the calls of one process; two are never under way."""
LEAD: Final = 0.02
"""Seconds for which the others call before the first one fails."""
MOST: Final = 50
"""Failures after which the first one gives up: the breaker does not open."""
PATIENCE: Final = 5.0
"""Seconds after which a process that was never refused gives up."""
WAITS, FAILED, OVER = 0, 1, 2
"""What the number that all share says of the first one."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One breaker, to be opened once."""

    library: str
    name: str
    busy: bool
    """Whether the others call all the time, or begin when it should open."""


@dataclass(frozen=True, slots=True)
class Story:
    """Of one process: when the calls were made that were let through, and when one was refused, if one was."""

    calls: list[float]
    refused: float | None


POOLED: Final = riskscale.BreakerPolicy(failure_rate=0.5, minimum_calls=20, open_seconds=LONG)
"""By what all see together, of which nobody alone sees enough."""


class Crew:
    """One replica of each library."""

    def __init__(self, url: str, phase: Any) -> None:
        self._phase = phase
        self._runner = asyncio.Runner()
        self._replica = self._runner.run(self._new(url))
        self._guard: Guard

    def close(self) -> None:
        """End connections and subscriptions."""
        self._runner.run(self._replica.close())
        self._runner.close()

    def ready(self, turn: Turn, pooled: bool) -> None:
        """One call, which succeeds, so that the breaker is known."""
        self._phase.value = WAITS
        self._runner.run(self._ready(turn, pooled))

    def lead(self, turn: Turn) -> Story:
        """Fail until the breaker refuses."""
        return self._runner.run(self._lead(turn))

    def follow(self, turn: Turn) -> Story:
        """Call, and succeed, until the breaker refuses or will not."""
        return self._runner.run(self._follow(turn))

    def fail(self) -> Story:
        """Call, and fail, until the breaker refuses."""
        return self._runner.run(self._call(fails=True))

    def bare(self, count: int) -> list[float]:
        """Seconds of round trips, each after as long a pause as between calls."""
        return self._runner.run(self._replica.round_trips(count, PACE))

    @staticmethod
    async def _new(url: str) -> Replica:
        return Replica(url)

    async def _ready(self, turn: Turn, pooled: bool) -> None:
        await self._replica.forget()
        if pooled:
            self._guard = self._replica.ours(turn.name, POOLED)
        else:
            self._guard = await self._replica.guard(turn.library, turn.name)
        await self._guard(_nothing)
        if turn.library == OURS:
            await self._replica.listens()

    async def _lead(self, turn: Turn) -> Story:
        await asyncio.sleep(LEAD if turn.busy else 0)
        calls: list[float] = []

        async def fail() -> None:
            calls.append(time.monotonic())
            if len(calls) == FAILURES:
                self._phase.value = FAILED
            raise Down

        while len(calls) < MOST:
            try:
                await self._guard(fail)
            except Down:
                await asyncio.sleep(0)
            except REFUSALS:
                return Story(calls, await self._idle())
        self._phase.value = OVER
        return Story(calls, None)

    async def _idle(self) -> float:
        """The loop goes on, for what is sent in the background, until the others must know."""
        now = time.monotonic()
        await asyncio.sleep(10 * PACE)
        return now

    async def _follow(self, turn: Turn) -> Story:
        while not turn.busy and self._phase.value == WAITS:
            await asyncio.sleep(PACE / 2)
        return await self._call(fails=False)

    async def _call(self, *, fails: bool) -> Story:
        calls: list[float] = []

        async def func() -> None:
            calls.append(time.monotonic())
            if fails:
                raise Down

        give_up = time.monotonic() + PATIENCE
        while self._phase.value != OVER and time.monotonic() < give_up:
            try:
                with suppress(Down):
                    await self._guard(func)
            except REFUSALS:
                return Story(calls, await self._idle())
            await asyncio.sleep(PACE)
        return Story(calls, None)


async def _nothing() -> None:
    pass
