"""How a replica of ``riskscale demo`` calls its dependency: through the breaker that all of them share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from riskscale import BreakerPolicy, BreakerState, CircuitBreaker, CircuitOpen, Hub
from riskscale.cli.outage import Changed, Tried

POLICY = BreakerPolicy(consecutive_failures=3, open_seconds=0.5, refresh_seconds=0.25)
PACE = 0.02
"""Seconds before a call, and of one."""


class Down(Exception):
    """What the dependency says while it fails."""


class Caller:
    """One call after the other; ``emit`` takes what came of them, and what the breaker told."""

    def __init__(self, hub: Hub, number: int, breaker: str, emit: Callable[[Tried | Changed], None]) -> None:
        self._number, self._emit = number, emit
        self._breaker = CircuitBreaker(name=breaker, policy=POLICY, redis=hub)
        self._is_probe = False
        self.is_down = False
        """Whether the dependency fails, until the breaker has refused a call."""

    async def run(self) -> None:
        """Until it is cancelled."""
        following, me = asyncio.create_task(self._follow()), asyncio.current_task()
        try:
            while me and not me.cancelling():  # fakeredis loses a cancellation on Python 3.11, by its wait_for
                await asyncio.sleep(PACE)
                self._emit(Tried(self._number, await self._try(), self._is_probe, time.monotonic()))
        finally:
            following.cancel()
            await asyncio.wait({following})

    async def _try(self) -> bool | None:
        self._is_probe = False
        try:
            await self._breaker.call(self._dependency)
        except Down:
            return True
        except CircuitOpen:
            self.is_down = False
            return None
        return False

    async def _dependency(self) -> None:
        self._is_probe = self._breaker.state is BreakerState.HALF_OPEN
        await asyncio.sleep(PACE)
        if self.is_down:
            raise Down

    async def _follow(self) -> None:
        async for change in self._breaker.events():
            self._emit(Changed(self._number, change.after, change.shared, time.monotonic()))
