"""What a replica does with its loans, without I/O."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from riskscale.rate.calls import Decision, Plan
from riskscale.rate.fallback import RETRY
from riskscale.rate.lending import Lent, Wanted
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit
from riskscale.rate.loans import Allowance, Book, Waiter
from tests.rate.loans_machine import Answer, LoansMachine

LIFE = 1.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_replicas_keep_the_promise_together(algorithm: Algorithm) -> None:
    run_state_machine_as_test(type("Machine", (LoansMachine,), {"algorithm": algorithm}))


class Desk:
    """A book of one key, and a server that lends whatever is wanted."""

    def __init__(self, most: int = 1000) -> None:
        self.book = Book(Plan("rs1", Limit(100_000, per=60), "d", None), most, LIFE)
        self.calls = 0

    @property
    def allowance(self) -> Allowance:
        return self.book.of("a")

    def wait(self, cost: int = 1) -> Answer:
        answer = Answer()
        self.allowance.waiters.append(Waiter(cost, answer))
        return answer

    def request(self, now: float) -> Wanted:
        wanted = self.book.request(self.allowance, False, now)
        assert wanted is not None
        self.allowance.is_asking = True
        return wanted

    def lend(self, units: int, sent: float, now: float) -> None:
        self.calls += 1
        self.book.answered(self.allowance, Lent(10**15, units, round(LIFE * 1e6), 0, 50), sent, now)

    def hit(self, now: float, after: float = 0.0) -> Decision:
        """With an answer that comes ``after`` seconds."""
        decision = self.book.decide("a", 1, now)
        if decision is None:
            answer = self.wait()
            self.lend(self.request(now).want, now, now + after)
            assert answer.result is not None
            return answer.result
        if self.allowance.is_due:
            self.allowance.is_due = False
            wanted = self.book.request(self.allowance, False, now)
            if wanted is not None:
                self.lend(wanted.want, now, now + after)
        return decision


def test_a_loan_ends_as_if_it_had_been_made_when_it_was_asked_for() -> None:
    desk = Desk()
    desk.lend(10, sent=5.0, now=5.75)
    assert desk.book.decide("a", 1, 5.999) and desk.book.decide("a", 1, 6.0) is None


def test_a_reply_that_comes_too_late_serves_whom_it_was_for_and_the_rest_goes_back() -> None:
    desk = Desk()
    first, second = desk.wait(2), desk.wait(2)
    assert desk.request(0.0) == ("a", 2, 4)
    desk.lend(4, sent=0.0, now=1.5)
    assert first.result and not second.over and desk.allowance.waiters
    ((key, loan),) = desk.book.sweep(1.5)
    assert (key, loan.left) == ("a", 2)
    assert desk.allowance.waiters, "who waits is not forgotten"


def test_a_lone_hit_borrows_one_unit_and_leaves_nothing() -> None:
    desk = Desk()
    assert desk.hit(0.0) and desk.calls == 1
    assert desk.book.sweep(0.999) == [] and desk.book.allowances
    assert desk.book.sweep(1.0) == [] and not desk.book.allowances


@pytest.mark.parametrize("rate", [3, 30, 300])
def test_demand_is_found_in_few_steps_and_followed(rate: int) -> None:
    desk = Desk()
    for number in range(rate * 10):
        assert desk.hit(number / rate)
    assert desk.calls <= 10 + 10 * LIFE * 2, "fewer than two a life, and some at the start"
    assert rate / 2 <= desk.allowance.want <= rate * 2
    left = sum(loan.left for loan in desk.allowance.loans)
    assert left <= 2 * rate * LIFE


def test_the_next_loan_is_there_before_this_one_is_spent() -> None:
    """So nobody waits for the server, as long as a reply takes less than a quarter of a life."""
    desk, rate = Desk(), 200
    waited = 0
    late: list[tuple[float, int]] = []
    for number in range(rate * 10):
        now = number / rate
        while late and late[0][0] <= now:
            came, units = late.pop(0)
            desk.lend(units, came - 0.05, came)
        if desk.book.decide("a", 1, now) is None:
            desk.hit(now)
            waited += number > rate
        elif desk.allowance.is_due:
            desk.allowance.is_due = False
            late.append((now + 0.05, desk.request(now).want))
    assert waited == 0


def test_a_lease_is_no_more_than_max_lease() -> None:
    desk = Desk(most=5)
    for number in range(1000):
        desk.hit(number / 1000)
        assert sum(loan.left for loan in desk.allowance.loans) <= 10
    desk.wait(7)
    assert desk.request(2.0) == ("a", 7, 7), "but a hit that needs more gets it"


def test_where_there_is_enough_it_is_looked_at_once() -> None:
    desk = Desk()
    desk.lend(1000, sent=0.0, now=0.0)
    assert desk.book.decide("a", 760, 0.1) and desk.allowance.is_due
    desk.allowance.is_due = False
    assert desk.book.request(desk.allowance, False, 0.1) is None
    assert desk.book.decide("a", 1, 0.9) and not desk.allowance.is_due


def test_after_a_failure_nothing_is_asked_for_in_advance_at_once() -> None:
    desk = Desk()
    for number in range(100):
        desk.hit(number / 1000)
    loan = desk.allowance.loans[-1]
    desk.book.failed(desk.allowance, ConnectionError(), 0.1)
    loan.left = 2
    assert desk.book.decide("a", 1, 0.1 + RETRY / 2) and not desk.allowance.is_due
    assert desk.book.decide("a", 1, 0.1 + RETRY) and desk.allowance.is_due


def test_who_gave_up_is_asked_for_no_more() -> None:
    desk = Desk()
    desk.wait(9).over = True
    assert desk.book.request(desk.allowance, False, 0.0) is None
    assert not desk.book.allowances or desk.book.sweep(LIFE) == []
    assert not desk.book.allowances
