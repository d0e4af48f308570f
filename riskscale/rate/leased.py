"""The rate limiter that decides without asking, for asyncio."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from typing import Any

from riskscale._core.durations import Duration
from riskscale.errors import HubClosed, StateError
from riskscale.rate._leased import BaseLeased
from riskscale.rate.booking import Booking
from riskscale.rate.borrower import Borrower
from riskscale.rate.calls import Decided, Decision, Pairs, Plan, Subject, check_cost, only
from riskscale.rate.fallback import OnError, merged
from riskscale.rate.lending import check_lease
from riskscale.rate.limit import Limit
from riskscale.rate.limiter import RateLimiter


class LeasedRateLimiter(BaseLeased, RateLimiter):
    """A limit that replicas share, most hits of which are decided here: units are borrowed, and spent without asking.

    What is borrowed is debited first, and counts as used at the end of its lease. So of units *used*, by all replicas,
    and by ordinary limiters of the same limit and name too, each algorithm promises what it promises of hits:
    ``sliding_log`` and ``sliding_window`` never more than the limit in any window; ``gcra`` in any span w at most
    burst + w / interval; ``fixed_window`` at most the limit from a window's first hit on. What it costs: a unit comes
    back one lease later, and what a replica holds, or took along when it died, is refused to the others meanwhile.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        limit: one :class:`riskscale.Limit`.
        name: what is limited; limiters of different names count apart.
        max_lease: the most units borrowed at once, beyond what one hit asks for; None: a tenth of the limit. How many
            are borrowed is the demand of one lease's length, as measured, and at most half of what is left.
        lease_life: seconds for which units are borrowed, at most half of the window (gcra: of the time in which a
            bucket fills); None: one second, or a tenth of the window where that is less. Refusals of the server are
            believed as long, unless they end before.
        tag: text that decides the cluster slot in place of the key.
        timeout: seconds that a hit waits for the server before it counts as gone; None: the hub's, or the client's own.
        on_error: what to do once the server is gone and what was borrowed is spent; see :class:`riskscale.RateLimiter`.
        replicas: for "local": how many share the limit.

    Raises:
        ArgumentError: an argument is malformed.

    ``remaining`` is what is borrowed here and what the server had left then; ``reset_after`` is the latest possible.
    Close it, or its hub, to return what is left; otherwise that is returned when the leases end.
    """

    def __init__(
        self,
        client: Any,
        limit: Limit,
        *,
        name: str = "default",
        max_lease: int | None = None,
        lease_life: Duration | None = None,
        tag: str | None = None,
        timeout: Duration | None = None,
        on_error: OnError = "raise",
        replicas: int | None = None,
    ) -> None:
        most, life_us = check_lease(limit, max_lease, lease_life)
        super().__init__(client, limit, name=name, tag=tag, timeout=timeout, on_error=on_error, replicas=replicas)
        loans = self._open(most, life_us)
        self._borrower: Borrower = Borrower(self._hub, loans, self._book, self._counts_beside)

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask for ``cost`` units for ``key``, here, and of the server where too few are left; see RateLimiter.hit.

        Raises:
            ArgumentError: ``cost`` is not a whole number of 1 or more, or ``key`` is empty.
            StateError: the key holds something else, or this is another event loop or process.
            HubClosed: the limiter, or its hub, was closed.
        """
        allowance = self._allowances.get(key)
        if allowance is not None and self._meter is None and type(cost) is int and cost > 0:
            borrower = self._borrower
            if get_running_loop() is borrower.loop:
                decision = allowance.spend(cost, self._monotonic())
                if decision is not None:
                    if allowance.is_due:
                        borrower.ask(allowance)
                    return decision
        return only(await self._decide(self._plan, ((key, check_cost(cost)),), True))

    async def refund(self, key: str, decision: Decision, cost: int = 1) -> int:
        """See :meth:`riskscale.RateLimiter.refund`; the units go back to the server."""
        try:
            return await super().refund(key, decision, cost)
        finally:
            self._book.returned(key)

    async def reset(self, key: str) -> None:
        """Forget what ``key`` used. What other replicas have borrowed of it may still pass, or be given back."""
        try:
            await super().reset(key)
        finally:
            self._book.forget(key)

    async def aclose(self) -> None:
        """Give back what is left; then hits raise HubClosed. Closing the hub does the same."""
        if not self._hub.closed:
            await asyncio.shield(self._hub.spawn(self._borrower.give_back()))

    async def _with_fallback(self, plan: Plan, pairs: Pairs, charge: bool, booking: Booking | None = None) -> Decided:
        known = [self._known(key, cost, charge) for key, cost in pairs]
        asked = [pair for pair, decision in zip(pairs, known, strict=True) if decision is None]
        return merged(known, await super()._with_fallback(plan, asked, charge, booking) if asked else [])

    async def _send(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        if not charge:
            return await super()._send(plan, pairs, charge)
        if len(pairs) == 1:
            return [await self._borrow(*pairs[0])]
        found = await asyncio.gather(*(self._borrow(*pair) for pair in pairs), return_exceptions=True)
        decided: Decided = []
        for each in found:  # all have ended by now: no error of another is lost to the loop
            if isinstance(each, BaseException) and not isinstance(each, StateError):
                raise each
            decided.append(each)
        return decided

    async def _borrow(self, key: str, cost: int) -> Decision | StateError:
        if cost > self.limits[0].capacity:  # nobody lends as much; the server knows what is left
            return (await super()._send(self._plan, ((key, cost),), False))[0]
        try:
            return await self._borrower.decide(key, cost)
        except HubClosed:
            raise
        except StateError as error:
            return error

    async def _give_back(self, plan: Plan, subject: Subject, decision: Decision, cost: int) -> int:
        return await self._hub.run(self._book.refund(subject, decision, cost))
