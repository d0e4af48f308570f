"""What is lent, and used at any time within the loan, keeps each algorithm's promise."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from riskscale._core.scripts import script
from riskscale.rate._model import MODELS, Gcra, RateModel, hit, lend
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit
from tests.rate.machine import limits
from tests.rate.promises import is_kept


@dataclass
class Loan:
    """What a holder has, until it ends, gives it back or dies."""

    left: int
    end: int


class Room:
    """A key, those who hold loans of it and use them at the last moment, and what was used when."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.now = limit, 10**15
        self.state: RateModel = MODELS[limit.algorithm]()
        self.loans: list[Loan] = []
        self.hits: list[tuple[int, int]] = []
        self.spent: list[tuple[int, int]] = []
        self.windows: set[int] = set()

    def lend(self, need: int, want: int, life_us: int) -> int:
        lent = lend(self.state, self.limit, need, want, life_us, self.now)
        if lent.granted:
            assert need <= lent.granted <= max(need, want) and lent.life_us <= life_us
            self.spent.append((self.now, need))
            self.loans.append(Loan(lent.granted - need, self.now + lent.life_us))
        return lent.retry_us

    def hit(self, cost: int) -> int:
        outcome = hit([self.state], [self.limit], cost, self.now)[0]
        if outcome.retry_us == 0:
            self.hits.append((self.now, cost))
        return outcome.retry_us

    def time_passes(self, us: int) -> None:
        until = self.now + us
        for loan in sorted(self.loans, key=lambda each: each.end):
            if loan.end <= until:
                self.now = loan.end
                self.spend(loan, loan.left)
        self.now = until

    def spend(self, loan: Loan, units: int) -> None:
        if units and self.now <= loan.end:
            self.spent.append((self.now, min(units, loan.left)))
            loan.left -= min(units, loan.left)

    def give_back(self, loan: Loan) -> None:
        self.loans.remove(loan)
        if loan.left:
            assert self.state.refund(self.limit, loan.left, loan.end, self.now) <= loan.left

    def refund(self, hit: tuple[int, int]) -> None:
        self.hits.remove(hit)
        self.state.refund(self.limit, hit[1], hit[0], self.now)


STEPS = ["hit", "hit", "hit", "lend", "lend", "lend", "spend", "die", "give back", "refund"]
TENTHS = st.sampled_from([0, 0, 1, 5, 9, 10])
steps = st.lists(st.tuples(st.sampled_from(STEPS), TENTHS, TENTHS, st.integers(1, 4)), min_size=10, max_size=50)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(count=st.integers(1, 5), burst=st.integers(1, 5), steps=steps)
def test_the_promise_holds_of_units_used(
    algorithm: Algorithm, count: int, burst: int, steps: list[tuple[str, int, int, int]]
) -> None:
    """Everybody takes what there is as soon as it may be taken, and uses what is lent as late as it may be used.

    But some spend at once, die, or give back, and hits are refunded.
    """
    limit = Limit(count, per=600e-6, algorithm=algorithm, burst=burst if algorithm == "gcra" else None)
    room = Room(limit)
    for what, gap, life, units in steps:
        loan, retry_us = room.loans[units % len(room.loans)] if room.loans else None, 0
        match what:
            case "hit":
                retry_us = room.hit(units)
            case "lend":
                retry_us = room.lend(units, 9, max(1, 60 * life))
            case "spend" if loan:
                room.spend(loan, units)
            case "die" if loan:
                room.loans.remove(loan)
            case "give back" if loan:
                room.give_back(loan)
            case "refund" if room.hits:
                room.refund(room.hits[life % len(room.hits)])
        room.windows.add(getattr(room.state, "start", 0))
        room.time_passes(retry_us if retry_us > 0 else 60 * gap)
    check_promise(limit, sorted(room.hits + room.spent), room.windows)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.data(), life=st.integers(1, 60), units=st.lists(st.integers(1, 4), max_size=8), need=st.integers(1, 9))
def test_a_refused_loan_is_to_be_had_at_retry_us(
    algorithm: Algorithm, data: st.DataObject, life: int, units: list[int], need: int
) -> None:
    limit = data.draw(limits(algorithm).filter(lambda each: 60 <= each.window_us <= 1000))
    life_us, now, state = max(1, limit.window_us * life // 60), 10**15, MODELS[algorithm]()
    for cost in units:
        lend(state, limit, cost, cost, life_us, now)
        now += limit.window_us // 40
    retry_us = lend(deepcopy(state), limit, need, need, life_us, now).retry_us
    if retry_us > 0:
        assert lend(deepcopy(state), limit, need, need, life_us, now + retry_us - 1).retry_us == 1
        assert lend(state, limit, need, need, life_us, now + retry_us).granted == need


def test_gcra_a_refund_knows_of_the_loan_that_ends_last() -> None:
    """Without that, what drains until the end of a loan would be given back, and passed once more."""
    limit, state, now = Limit(20, per=20e-6, algorithm="gcra"), Gcra(), 10**15
    assert hit([state], [limit], 5, now)[0].retry_us == 0
    assert lend(state, limit, 1, 1, 10, now).granted == 1
    assert state.refund(limit, 5, now, now) == 0
    assert hit([state], [limit], 20, now + 10)[0].retry_us == 1, "with the unit lent it would have been 21 at once"


@pytest.mark.parametrize(
    ("argument", "keys", "words"),
    [
        ("life_us", 1, ["sliding_log", 3, 1000, 0, 1001, 1, 1, 10**15]),
        ("KEYS", 0, ["sliding_log", 3, 1000, 0, 500, 10**15]),
        ("ARGV", 2, ["sliding_log", 3, 1000, 0, 500, 1, 1, 10**15]),
        ("want", 1, ["sliding_log", 3, 1000, 0, 500, 1, 0, 10**15]),
        ("burst", 1, ["sliding_log", 3, 1000, 3, 500, 1, 1, 10**15]),
    ],
)
def test_a_malformed_request_lends_nothing(
    raw_client: Any, prefix: str, argument: str, keys: int, words: list[Any]
) -> None:
    names = [f"{prefix}{number}" for number in range(keys)]
    with pytest.raises(redis.ResponseError, match=f"^RSARG {argument} "):
        raw_client.eval(script("rate.lease").text, keys, *names, *words)
    assert not raw_client.exists(*names) if names else True


def check_promise(limit: Limit, used: list[tuple[int, int]], windows: set[int]) -> None:
    """What the headers say, of units with the times at which they were used; ``windows``: where a fixed one started."""
    assert is_kept(limit, used)
    for start in windows if limit.algorithm == "fixed_window" else ():
        assert sum(units for at, units in used if 0 <= at - start < limit.window_us) <= limit.count
