"""Quota leases without I/O: what a replica has borrowed of each key, what it spends, and how much it asks for next.

A loan is debited before it is spent and counts as used at its end (``lua/rate/lease.lua``), so nothing here can break
the limit's promise as long as no unit is spent twice, or after the end of its loan. Both facades hold a :class:`Book`,
make its requests (one under way for each key), and tell it how they ended.

The estimate of demand: the units asked for since the last request, over the time since then, for one lease life; it
moves by at most a factor of two from one request to the next, from 1 on. So a key that is asked for once in a while is
asked for unit by unit, and has nothing to give back.
"""

from __future__ import annotations

import math
import os
import weakref
from collections import deque
from functools import partial
from typing import Any, NamedTuple

from riskscale._core.answers import fail_all
from riskscale._core.call import Call
from riskscale._core.durations import MICRO
from riskscale.errors import StateError
from riskscale.rate.calls import Decision, Plan
from riskscale.rate.fallback import RETRY
from riskscale.rate.lending import Lent, Wanted, counts_for
from riskscale.rate.limit import Limit


class Loan:
    """Units that may be spent here before ``end``."""

    __slots__ = ("ahead", "counts_until", "end", "end_us", "left", "low", "others", "renew_at", "token")

    def __init__(self, lent: Lent, sent: float, counts: float, token: str) -> None:
        life = lent.life_us / MICRO
        self.left, self.others = lent.granted, lent.remaining
        self.end, self.end_us = sent + life, lent.at_us + lent.life_us
        self.counts_until = self.end + counts
        self.ahead = lent.at_us / MICRO - sent
        self.token = f"{token}.{self.end_us:x}."
        is_one = lent.granted == 1  # nobody knows whether there will be another hit
        self.low, self.renew_at = (-1, math.inf) if is_one else (lent.granted // 4, sent + life * 3 / 4)


class Refusal(NamedTuple):
    """The server's last one: of ``cost`` units or more, believed until ``until``."""

    cost: int
    until: float
    passes_at: float
    remaining: int
    ahead: float


class Waiter:
    """A caller whom no loan could serve; ``answer`` is a future of its facade's kind."""

    __slots__ = ("answer", "cost")

    def __init__(self, cost: int, answer: Any) -> None:
        self.cost, self.answer = cost, answer


class Allowance:
    """What there is of one key here."""

    __slots__ = ("asked", "asked_at", "is_asking", "is_due", "is_forgotten", "key", "limit", "loans", "need", "needing",
                 "refusal", "until", "waiters", "want")  # fmt: skip

    def __init__(self, key: str, limit: Limit) -> None:
        self.key, self.limit = key, limit
        self.loans: list[Loan] = []
        """In the order in which they are spent; of those that have ended the rest is not given back yet."""
        self.waiters: list[Waiter] = []
        self.need = 1
        self.needing: Waiter | None = None
        self.refusal: Refusal | None = None
        self.is_asking = self.is_due = self.is_forgotten = False
        self.asked, self.asked_at, self.want, self.until = 0, -math.inf, 1.0, -math.inf

    def spend(self, cost: int, now: float) -> Decision | None:
        """A decision, if a loan has the units; ``is_due`` then says whether it is time to ask for more."""
        for loan in self.loans:
            if cost <= loan.left and now < loan.end:
                if loan.left - cost <= loan.low or now >= loan.renew_at:
                    self.is_due = not self.is_asking and loan is self.loans[-1]
                return self.take(loan, cost, now)
        return None

    def take(self, loan: Loan, cost: int, now: float) -> Decision:
        """Spend units of a loan."""
        loan.left = left = loan.left - cost
        self.asked += cost
        reset_after, token = loan.counts_until - now, f"{loan.token}{left}"  # no two hits of a loan leave the same
        at = now + loan.ahead
        return Decision(True, left + loan.others, 0.0, reset_after, self.limit, at, self.key, cost, token)

    def look(self, cost: int, now: float) -> Decision | None:
        """What :meth:`spend` would say."""
        for loan in self.loans:
            if cost <= loan.left and now < loan.end:
                left, reset_after, at = loan.left + loan.others, loan.counts_until - now, now + loan.ahead
                return Decision(True, left, 0.0, reset_after, self.limit, at, self.key, cost, "")
        return None

    def refused(self, cost: int, now: float) -> Decision | None:
        """A refusal, as long as the server's last one is believed."""
        refusal = self.refusal
        if refusal is None or cost < refusal.cost or now >= refusal.until:
            return None
        return self.refuse(refusal, cost, now)

    def refuse(self, refusal: Refusal, cost: int, now: float) -> Decision:
        """The decision that it stands for."""
        wait = max(refusal.passes_at - now, 1 / MICRO)
        return Decision(False, refusal.remaining, wait, wait, self.limit, now + refusal.ahead, self.key, cost, "")

    def estimate(self, waiting: int, life: float, most: int, now: float) -> float:
        """Units that will be asked for within one life, as the last request and this one tell."""
        elapsed, units = now - self.asked_at, max(0, self.asked + waiting)
        wanted = units * life / elapsed if elapsed > 0 else math.inf
        self.want = min(max(wanted, self.want / 2, 1.0), self.want * 2, most) if self.asked_at > -math.inf else 1.0
        self.asked, self.asked_at = -waiting, now  # they are counted, and will be once more when they are served
        return self.want

    def postpone(self, until: float) -> None:
        """Ask for nothing in advance before that."""
        if self.loans:
            self.loans[-1].low, self.loans[-1].renew_at = -1, until


class Book:
    """All keys of one limiter.

    Args:
        plan: of the limiter.
        max_lease: the most units that are asked for beyond what one hit needs.
        life: seconds for which they are asked for.
    """

    def __init__(self, plan: Plan, max_lease: int, life: float) -> None:
        self._plan, self._limit = plan, plan.limits[0]
        self._most, self.life = max_lease, life
        self._counts = counts_for(self._limit)
        self.allowances: dict[str, Allowance] = {}
        self.is_closed = False
        self._ends: deque[tuple[float, Allowance]] = deque()
        if hasattr(os, "register_at_fork"):  # a child must not spend again what its parent spends
            os.register_at_fork(after_in_child=partial(_disown, weakref.ref(self)))

    def of(self, key: str) -> Allowance:
        """The one of ``key``, made where there is none."""
        allowance = self.allowances.get(key)
        if allowance is None:
            allowance = self.allowances[key] = Allowance(key, self._limit)
        return allowance

    def decide(self, key: str, cost: int, now: float) -> Decision | None:
        """What is known without asking."""
        allowance = self.allowances.get(key)
        return None if allowance is None else allowance.spend(cost, now) or allowance.refused(cost, now)

    def request(self, allowance: Allowance, is_plain: bool, now: float) -> Wanted | None:
        """What to ask for now; nothing, where there is enough. ``is_plain``: for those who wait, and no more."""
        allowance.waiters = [waiter for waiter in allowance.waiters if not waiter.answer.done()]
        waiting = sum(waiter.cost for waiter in allowance.waiters)
        want = allowance.estimate(waiting, self.life, self._most, now)
        ahead = sum(min(loan.left, want * max(0.0, loan.end - now) / self.life) for loan in allowance.loans)
        in_advance = bool(waiting or allowance.loans) and not (is_plain or self.is_closed)
        want = max(waiting, round(want - ahead) if in_advance else 0)
        allowance.needing = allowance.waiters[0] if allowance.waiters else None
        allowance.need = allowance.needing.cost if allowance.needing else 1
        if not want:
            allowance.postpone(math.inf)
            self._ended(allowance, now)
            return None
        return Wanted(allowance.key, allowance.need, max(allowance.need, min(want, self._most)))

    def answered(self, allowance: Allowance, lent: Lent | StateError, sent: float, now: float) -> None:
        """Serve those who wait as far as it goes, in order of arrival."""
        if isinstance(lent, StateError):
            self.failed(allowance, lent, now)
            return
        if lent.retry_us:
            passes_at = sent + lent.retry_us / MICRO
            until, ahead = min(passes_at, sent + self.life), lent.at_us / MICRO - sent
            refusal = allowance.refusal = Refusal(allowance.need, until, passes_at, lent.remaining, ahead)
            allowance.postpone(until)
        else:
            loan, refusal = Loan(lent, sent, self._counts, self._plan.new_token()), None
            allowance.loans = [each for each in allowance.loans if each.left] + [loan]
            allowance.refusal = None
            needing = allowance.needing
            if needing is not None and not needing.answer.done():  # the server admitted it, however late that is heard
                needing.answer.set_result(allowance.take(loan, needing.cost, now))
        for waiter in allowance.waiters:
            if waiter.answer.done():
                continue
            decision = allowance.spend(waiter.cost, now)
            if refusal is not None and decision is None and waiter.cost >= refusal.cost:
                decision = allowance.refuse(refusal, waiter.cost, now)
            if decision is not None:
                waiter.answer.set_result(decision)
            elif refusal is None:
                break  # nobody passes one that came before: the next request is for what it needs
        self._ended(allowance, sent)

    def failed(self, allowance: Allowance, error: Exception, now: float) -> None:
        """Tell those who wait; in advance nothing is asked for before the server may be back."""
        fail_all([waiter.answer for waiter in allowance.waiters], error)
        allowance.postpone(now + RETRY)
        self._ended(allowance, now)

    def _ended(self, allowance: Allowance, sent: float) -> None:
        allowance.waiters = [waiter for waiter in allowance.waiters if not waiter.answer.done()]
        allowance.needing, allowance.is_asking = None, False
        allowance.until = sent + self.life
        self._ends.append((allowance.until, allowance))

    @property
    def sweep_at(self) -> float:
        """When :meth:`sweep` is due next."""
        return self._ends[0][0] if self._ends else math.inf

    def sweep(self, now: float) -> list[tuple[str, Loan]]:
        """Forget the keys that nobody asks for; what is left of loans that have ended, to be given back."""
        back: list[tuple[str, Loan]] = []
        while self.sweep_at <= now:
            _, allowance = self._ends.popleft()
            over = [loan for loan in allowance.loans if loan.end <= now]
            allowance.loans = [loan for loan in allowance.loans if loan.end > now]
            back += self._left(allowance, over)
            if not (allowance.loans or allowance.waiters or allowance.is_asking or allowance.until > now):
                self._drop(allowance)
        return back

    def drain(self) -> list[tuple[str, Loan]]:
        """All that is left of all loans, to be given back."""
        back: list[tuple[str, Loan]] = []
        for allowance in list(self.allowances.values()):
            back += self._left(allowance, allowance.loans)
            allowance.loans = []
        return back

    def returned(self, key: str) -> None:
        """Units came back to it: what was refused may pass."""
        if key in self.allowances:
            self.allowances[key].refusal = None

    def forget(self, key: str) -> None:
        """The server knows no more of what was lent: it is neither spent nor given back."""
        allowance = self.allowances.pop(key, None)
        if allowance is not None:
            allowance.is_forgotten, allowance.loans = True, []

    def _left(self, allowance: Allowance, loans: list[Loan]) -> list[tuple[str, Loan]]:
        return [(allowance.key, loan) for loan in loans if loan.left and not allowance.is_forgotten]

    def _drop(self, allowance: Allowance) -> None:
        if self.allowances.get(allowance.key) is allowance:
            del self.allowances[allowance.key]

    def give_back(self, key: str, loan: Loan) -> Call[int]:
        """The return of what is left of a loan that nobody will spend any more."""
        return self._plan.give_back(key, loan.end_us, f"{loan.token}rest", loan.left)

    def refund(self, key: str, decision: Decision, cost: int) -> Call[int]:
        """Give back units that a hit spent: they count as used at the end of its loan."""
        self._plan.check_own(decision)
        return self._plan.give_back(key, int(decision.token.split(".")[1], 16), decision.token, cost)


def _disown(of: weakref.ref[Book]) -> None:
    book = of()
    if book is not None:
        book.allowances.clear()
