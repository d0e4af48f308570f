"""Quota leases for asyncio: a limiter's requests for units, one under way for each key, and their return."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from riskscale._core.hub import Hub
from riskscale.errors import HubClosed, StateError
from riskscale.rate.calls import Decision
from riskscale.rate.coalescer import Coalescer
from riskscale.rate.lending import LoanPlan
from riskscale.rate.loans import Allowance, Book, Loan, Waiter

log = logging.getLogger("riskscale.rate")


class Borrower:
    """Of one limiter; the hub gives back with it when it closes.

    Args:
        hub: of the limiter.
        loans: how to ask for loans.
        book: what there is of each key.
        is_plain: whether nothing is to be asked for in advance now.
    """

    def __init__(self, hub: Hub, loans: LoanPlan, book: Book, is_plain: Callable[[], bool]) -> None:
        self._hub, self._loans, self._book, self._is_plain = hub, loans, book, is_plain
        self._coalescer = hub.part(Coalescer)
        self._requests: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        hub._leases.add(self)

    def known(self, key: str, cost: int) -> Decision | None:
        """What can be decided here."""
        self._check()
        decision = self._book.decide(key, cost, self._hub.monotonic())
        if decision is not None and (allowance := self._book.allowances[key]).is_due:
            self.ask(allowance)
        return decision

    async def decide(self, key: str, cost: int) -> Decision:
        """The decision of whoever waits for units.

        Raises:
            ArgumentError: the key is none.
            StateError: it holds something else.
        """
        self._loans.key_of(key)  # checked before anybody waits
        decision = self.known(key, cost)
        if decision is not None:
            return decision
        waiter, allowance = Waiter(cost, asyncio.get_running_loop().create_future()), self._book.of(key)
        allowance.waiters.append(waiter)
        self.ask(allowance)
        decided: Decision = await waiter.answer
        return decided

    def ask(self, allowance: Allowance) -> None:
        """Begin a request, unless one is under way."""
        allowance.is_due = False
        if not allowance.is_asking:
            allowance.is_asking = True
            task = self._hub.spawn(self._borrow(allowance))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def give_back(self) -> None:
        """Return everything; from now on nothing is lent."""
        self._book.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._requests:
            await asyncio.wait(self._requests)
        await self._return(self._book.drain())

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        if self.loop is None:
            self.loop = loop
        elif self.loop is not loop:
            raise StateError("this limiter belongs to the event loop that first used it; make one per loop")
        self._hub.check_open()
        if self._book.is_closed:
            raise HubClosed("the limiter is closed")

    async def _borrow(self, allowance: Allowance) -> None:
        """For as long as somebody waits. It begins in the loop's next turn: all who hit in this one are heard."""
        book, now = self._book, self._hub.monotonic
        slot = self._hub.slot_of(self._loans.key_of(allowance.key))
        try:
            while wanted := book.request(allowance, self._is_plain(), now()):
                sent = now()
                try:
                    (lent,) = await self._coalescer.kind(self._loans, slot).ask(self._loans, [wanted])
                except Exception as error:
                    book.failed(allowance, error, now())
                else:
                    book.answered(allowance, lent, sent, now())
                if not allowance.waiters:
                    break
                allowance.is_asking = True
        except asyncio.CancelledError:
            book.failed(allowance, HubClosed(), now())
            raise
        if not book.is_closed:
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and (at := self._book.sweep_at) < math.inf:
            delay = max(at - self._hub.monotonic(), self._book.life / 8)
            self._timer = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        if self._hub.closed:
            return
        back = self._book.sweep(self._hub.monotonic())
        if back:
            self._hub.spawn(self._return(back))
        self._schedule()

    async def _return(self, back: Sequence[tuple[str, Loan]]) -> None:
        calls = [self._hub.ask(self._book.give_back(key, loan)) for key, loan in back]
        failures = [
            each for each in await asyncio.gather(*calls, return_exceptions=True) if isinstance(each, Exception)
        ]
        if failures:
            log.warning("%d loans could not be given back: %s", len(failures), type(failures[0]).__name__)
