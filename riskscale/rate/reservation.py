"""The reservation for asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from riskscale._core.call import Call, Cleanup, Flow
from riskscale.rate.booking import BaseReservation
from riskscale.rate.calls import Decision, Plan

if TYPE_CHECKING:
    from riskscale.rate.limiter import RateLimiter


class Reservation(BaseReservation):
    """Units booked ahead, of :meth:`riskscale.RateLimiter.reserve`; true if they were.

    ``async with await limiter.reserve(...) as reservation:`` waits until it may start; whoever is cancelled before the
    body began gives it back. What a process that dies had reserved is simply used up.
    """

    def __init__(self, limiter: RateLimiter, plan: Plan, decision: Decision) -> None:
        super().__init__(limiter, plan, decision)
        self._hub = limiter._hub

    async def wait(self) -> None:
        """Sleep until it may start. Cancelled meanwhile, it is cancelled.

        Raises:
            RateLimitExceeded: it was refused.
            StateError: it was cancelled.
        """
        self.raise_if_refused()
        began = self._limiter._monotonic()
        try:
            await asyncio.sleep(self.delay())
        except BaseException:
            await self._give_back()
            raise
        self._limiter._waited(began)
        self._check_begins()

    async def settle(self, actual: int) -> int:
        """Say what it really cost, once: of this and :meth:`cancel` the first counts.

        Args:
            actual: units. Fewer than were reserved: the rest comes back, as far as it still counts and nobody else was
                promised a start with it counted. More: they are charged as a debt, which is never refused.

        Returns:
            The units that came back; below 0: so many were charged. 0 where it was settled before.

        Raises:
            ArgumentError: ``actual`` is not a whole number of 0 or more.
            StateError: it was refused.
        """
        settlement = self._settlement(actual)
        if isinstance(settlement, int):
            return settlement
        try:
            return self._settled(await self._hub.run(settlement))
        finally:
            self._forget_denials()

    async def _give_back(self) -> None:
        settlement = self._settlement(0)
        if isinstance(settlement, Call):
            try:
                await self._hub.drive(give_back(settlement))
            finally:
                self._forget_denials()

    async def cancel(self) -> int:
        """Give it back: :meth:`settle` with 0. The units that came back."""
        return await self.settle(0)

    async def __aenter__(self) -> Reservation:
        await self.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        """What began is used up, until it is settled."""


def give_back(settlement: Call[tuple[bool, int]]) -> Flow[None]:
    """Whatever happens to the caller."""
    yield Cleanup(settlement)
