"""Drives rate.reserve and rate.settle beside their model, in virtual time, and judges every start that was promised."""

from __future__ import annotations

import bisect
import copy
import itertools
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskscale._core.call import line
from riskscale._core.scripts import script
from riskscale.rate._model import hit, interval, lend
from riskscale.rate._reservation_model import Reservations
from riskscale.rate.limit import Limit
from tests.backends import asked
from tests.rate.machine import START, words

SERIAL = itertools.count()
PARTS = st.integers(0, 99)
"""Of which a cost is made: mostly one that the burst admits."""
LIMITS = st.builds(
    lambda interval_us, burst: Limit(12, per=12 * interval_us / 1e6, algorithm="gcra", burst=burst),
    st.sampled_from([1, 3, 10, 1000]),
    st.integers(1, 9),
)


@dataclass(frozen=True)
class Charge:
    """A hit, a reservation, or what was lent and is used at its start."""

    start: int
    charged: int
    units: int
    """What still counts of it."""
    is_open: bool = True


class Promise:
    """In any span w at most burst + floor(w / interval): of what is to start, when it starts.

    What cost more than was asked for is there already. It refuses nobody who was promised a start before, but counts
    for everybody who comes afterwards.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.debts: list[tuple[int, int]] = []

    def breach(self, charges: list[Charge], newest: int | None) -> tuple[int, int, int] | None:
        """A span, from and to, with the units in it, that are too many."""
        events = sorted((charge.start, charge.units) for charge in charges if charge.units)
        ends = sorted({start for start, _ in events})
        found = [self._breach(events, end) for end in ends]
        if newest is not None:
            found.append(self._breach(sorted([*events, *self.debts]), newest))
        return next((each for each in found if each), None)

    def _breach(self, events: list[tuple[int, int]], end: int) -> tuple[int, int, int] | None:
        total = 0
        for start, units in reversed(events[: bisect.bisect_right(events, (end, 10**18))]):
            total += units
            if total > self.limit.capacity + (end - start) // interval(self.limit):
                return start, end, total
        return None

    def least_tat(self, charges: list[Charge]) -> int:
        """The `tat` of a bucket that saw nothing but what counts; below it somebody would be let through too early."""
        tat = 0
        for start, units in sorted([*((each.start, each.units) for each in charges if each.units), *self.debts]):
            tat = max(tat, start) + units * interval(self.limit)
        return tat


class ReservationMachine(RuleBasedStateMachine):
    """With ``client`` None the model alone, which is fast; ``calm``: no resets, changed limits, clocks that go back."""

    client: ClassVar[Any] = None
    prefix: ClassVar[str] = ""
    calm: ClassVar[bool] = True

    @initialize(limit=LIMITS)
    def begin(self, limit: Limit) -> None:
        self.now, self.limit, self.model, self.promise = START, limit, Reservations(), Promise(limit)
        base = f"{self.prefix}r{next(SERIAL)}"
        self.keys = [base, f"{base}:reservations", f"{base}:starts"]
        self.charges: dict[str, Charge] = {}
        self.newest: int | None = None

    def run(self, name: str, *words: Any) -> list[int]:
        keys = self.keys[:1] if name == "rate.gcra" else self.keys
        fixed = (self.limit.count, self.limit.window_us, self.limit.capacity)
        reply = self.client.eval(script(name).text, len(keys), *keys, *fixed, *words, self.now)
        numbers = line(reply) if name == "rate.gcra" else list(reply)
        assert numbers[0] == self.now
        return numbers[1:]

    def agree(self, outcome: tuple[int, ...], name: str, *words: Any) -> None:
        if self.client is not None:
            assert self.run(name, *words) == list(outcome)

    def stored(self) -> list[Any]:
        return asked(self.client, "dump", self.keys) if self.client is not None else []

    def cost(self, part: int) -> int:
        return 1 + part % (self.limit.capacity + 1)

    @rule(intervals=st.sampled_from([0, 0, 1, 1, 2, 3, 7]), off=st.integers(-1, 1))
    def time_passes(self, intervals: int, off: int) -> None:
        self.now += max(0, intervals * interval(self.limit) + off)

    @rule(part=PARTS)
    def hit(self, part: int) -> None:
        cost = self.cost(part)
        (outcome,) = hit([self.model.gcra], [self.limit], cost, self.now)
        self.agree(outcome, "rate.gcra", 1, cost)
        if outcome.retry_us == 0:
            self.made(f"h{next(SERIAL)}", self.now, cost)

    @rule(need=PARTS, want=PARTS, life=st.integers(1, 12), used=st.integers(0, 12))
    def lend(self, need: int, want: int, life: int, used: int) -> None:
        """Units that somebody may use at any time until the loan ends, and does at one."""
        need, want, life_us = self.cost(need), self.cost(want), min(life * interval(self.limit), self.limit.window_us)
        lent = lend(self.model.gcra, self.limit, need, want, life_us, self.now)
        if self.client is not None:
            asked = (*words(self.limit), life_us, need, want, self.now)
            reply = line(self.client.eval(script("rate.lease").text, 1, self.keys[0], *asked))
            assert reply == [self.now, *lent]
        if lent.granted:
            self.made(f"l{next(SERIAL)}", self.now + lent.life_us * used // 12, lent.granted)

    def made(self, token: str, start: int, cost: int) -> None:
        self.charges[token], self.newest = Charge(start, cost, cost), start

    def booked(self) -> list[Charge]:
        return [each for token, each in self.charges.items() if token.startswith("r")]

    @rule(parts=st.lists(PARTS, min_size=1, max_size=4), wait=st.sampled_from([10, 10**6, 10**6]))
    def several_reserve(self, parts: list[int], wait: int) -> None:
        for part in parts:
            self.reserve(part, wait, False)

    @rule(part=PARTS, wait=st.sampled_from([0, 1, 3]), repeats=st.booleans())
    def reserve(self, part: int, wait: int, repeats: bool) -> None:
        token, cost, wait = f"r{next(SERIAL)}", self.cost(part), wait * interval(self.limit)
        last = max((each.start for each in self.booked() if each.units), default=0)
        before = self.stored()
        booked = self.model.reserve(self.limit, token, cost, wait, self.now)
        self.agree(booked, "rate.reserve", token, cost, wait)
        if booked.retry_us:
            assert self.stored() == before, "a refused reservation wrote"
            return
        assert self.now <= booked.start_us <= self.now + wait
        assert not self.calm or booked.start_us >= last, "it starts before one that was made before it"
        self.made(token, booked.start_us, cost)
        if repeats:
            assert self.model.reserve(self.limit, token, cost, wait, self.now) == booked
            self.agree(booked, "rate.reserve", token, cost, wait)

    @rule(cost=st.integers(1, 9), wait=st.integers(0, 30))
    def it_can_be_reserved_when_it_says_so(self, cost: int, wait: int) -> None:
        def ask(now: int) -> int:
            return copy.deepcopy(self.model).reserve(self.limit, "new", cost, wait, now).retry_us

        retry = ask(self.now)
        if retry > 0:
            assert ask(self.now + retry - 1) == 1 and ask(self.now + retry) == 0

    @rule(part=PARTS, actual=st.sampled_from([0, 0, 0, 1, 2, 5, 12]), again=st.integers(0, 3), lost=st.booleans())
    def settle(self, part: int, actual: int, again: int, lost: bool) -> None:
        """``again``, if it is 0: perhaps one that is settled; ``lost``: so was the reply that told the start of it."""
        tokens = [token for token, each in self.charges.items() if token[0] != "l" and (each.is_open or not again)]
        if not tokens:
            return
        token = tokens[part % len(tokens)]
        charge = self.charges[token]
        start = None if lost and token.startswith("r") else charge.start
        self.settled(token, start, charge.charged, actual)

    @rule()
    def all_who_wait_give_up(self) -> None:
        """In the order of arrival; nothing of them is left."""
        waiting = [t for t, each in self.charges.items() if t[0] == "r" and each.is_open and each.start > self.now]
        for token in waiting:
            self.settled(token, self.charges[token].start, self.charges[token].charged, 0)
        nothing_else = not self.promise.debts and self.model.gcra.lent <= self.now
        if self.calm and nothing_else and all(each.start <= self.now for each in self.charges.values()):
            assert self.model.gcra.tat <= self.now + self.limit.capacity * interval(self.limit)

    def settled(self, token: str, start: int | None, cost: int, actual: int) -> None:
        words = ("" if start is None else start, cost, actual)
        done, back = self.model.settle(self.limit, token, start, cost, actual, self.now)
        self.agree((done, back), "rate.settle", token, *words)
        charge = self.charges[token]
        if self.calm and charge.start > self.now - Reservations.KEPT_US:
            assert done == charge.is_open and back <= max(0, cost - actual)
        if not done:
            assert back == 0
            return
        if actual > cost:
            self.promise.debts.append((self.now, actual - cost))
        self.charges[token] = replace(charge, units=min(actual, cost), is_open=False)

    @rule(seldom=st.integers(0, 3), by=st.sampled_from([1, 7, 1000]))
    def the_clock_goes_back(self, seldom: int, by: int) -> None:
        if not self.calm and not seldom:
            self.now -= by

    @rule(seldom=st.integers(0, 3), limit=LIMITS)
    def the_limit_changes(self, seldom: int, limit: Limit) -> None:
        if not self.calm and not seldom:
            self.limit, self.charges = limit, {}

    @rule(seldom=st.integers(0, 3))
    def reset(self, seldom: int) -> None:
        if not self.calm and not seldom:
            self.client.delete(self.keys[0])
            self.model.gcra.tat = self.model.gcra.lent = 0

    @invariant()
    def the_promise_holds(self) -> None:
        if self.calm and hasattr(self, "charges"):
            breach = self.promise.breach(list(self.charges.values()), self.newest)
            assert breach is None, f"units in [from, to]: {breach}"
            least = self.promise.least_tat(list(self.charges.values()))
            assert max(self.model.gcra.tat, self.now) >= least, "the next one would break it"
            self.newest = None


def machine(**options: Any) -> type[ReservationMachine]:
    """A machine with these class variables."""
    return type("Machine", (ReservationMachine,), options)
