"""Replicas that borrow of one server, in virtual time: replies are late or lost, and replicas die."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskscale.rate._model import MODELS, RateModel, hit, lend
from riskscale.rate.calls import Decision, Plan
from riskscale.rate.lending import Lent, Wanted
from riskscale.rate.limit import Algorithm, Limit
from riskscale.rate.loans import Allowance, Book, Loan, Waiter
from tests.rate.test_loans_model import check_promise

MICRO = 1e6
WINDOW_US = 600
LIFE_US = 200


class Answer:
    """A future of no loop."""

    def __init__(self) -> None:
        self.result: Decision | None = None
        self.over = False

    def done(self) -> bool:
        return self.over

    def set_result(self, decision: Decision) -> None:
        self.result, self.over = decision, True

    def set_exception(self, _: Exception) -> None:
        self.over = True


@dataclass
class Request:
    """On its way: ``lent`` is the reply, once the server has decided."""

    allowance: Allowance
    wanted: Wanted
    sent: float
    needing: Waiter | None
    lent: Lent | None = None


@dataclass
class Replica:
    """A book, and what it waits for."""

    book: Book
    request: Request | None = None
    waiting: list[tuple[Waiter, Answer]] = field(default_factory=list)


class LoansMachine(RuleBasedStateMachine):
    """Judged by the times at which units were used: here when a decision is made, at the server for what was needed."""

    algorithm: ClassVar[Algorithm]

    @initialize(count=st.integers(1, 12), burst=st.integers(1, 8))
    def begin(self, count: int, burst: int) -> None:
        is_gcra = self.algorithm == "gcra"
        self.limit = Limit(count, per=WINDOW_US / MICRO, algorithm=self.algorithm, burst=burst if is_gcra else None)
        self.now = 10**15
        self.state: RateModel = MODELS[self.algorithm]()
        self.used: list[tuple[int, int]] = []
        self.windows: set[int] = set()
        self.replicas = [self.new_replica() for _ in range(3)]

    def new_replica(self) -> Replica:
        plan = Plan("rs1", self.limit, "m", None)
        return Replica(Book(plan, max(1, self.limit.capacity // 2), LIFE_US / MICRO))

    @property
    def clock(self) -> float:
        """Monotonic seconds, small enough to be exact."""
        return (self.now - 10**15) / MICRO

    def use(self, decision: Decision, at: int | None = None) -> None:
        if decision:
            self.used.append((self.now if at is None else at, decision.cost))
            self.windows.add(getattr(self.state, "start", 0))

    @rule(at=st.integers(0, 2), cost=st.integers(1, 2), many=st.integers(1, 3))
    def hits_that_are_answered_at_once(self, at: int, cost: int, many: int) -> None:
        for _ in range(many):
            self.hit_a_replica(at, cost)
            self.the_server_decides(at, twice=False)
            self.the_reply_comes(at, is_lost=False)

    @rule(at=st.integers(0, 2), cost=st.integers(1, 3))
    def hit_a_replica(self, at: int, cost: int) -> None:
        replica = self.replicas[at]
        if replica.book.is_closed or cost > self.limit.capacity:
            return
        decision = replica.book.decide("a", cost, self.clock)
        if decision is not None:
            self.use(decision)
            if replica.book.of("a").is_due:
                self.ask(replica, replica.book.of("a"))
            return
        answer = Answer()
        waiter, allowance = Waiter(cost, answer), replica.book.of("a")
        allowance.want, allowance.asked_at = max(allowance.want, 8.0), min(self.clock, 0.0)  # as if it had been busy
        allowance.waiters.append(waiter)
        replica.waiting.append((waiter, answer))
        self.ask(replica, allowance)

    def ask(self, replica: Replica, allowance: Allowance) -> None:
        if allowance.is_asking:
            return
        wanted = replica.book.request(allowance, False, self.clock)
        if wanted is not None:
            assert replica.request is None, "one request under way for each key"
            allowance.is_asking = True
            replica.request = Request(allowance, wanted, self.clock, allowance.needing)

    @rule(at=st.integers(0, 2), twice=st.booleans())
    def the_server_decides(self, at: int, twice: bool) -> None:
        request = self.replicas[at].request
        if request is not None and request.lent is None:
            for _ in range(1 + twice):  # a client that sends again after a lost reply
                limit, wanted = self.limit, request.wanted
                lent = lend(self.state, limit, wanted.need, wanted.want, LIFE_US, self.now)
            request.lent = Lent(self.now, *lent)

    @rule(at=st.integers(0, 2), is_lost=st.sampled_from([False, False, False, True]))
    def the_reply_comes(self, at: int, is_lost: bool) -> None:
        replica = self.replicas[at]
        request = replica.request
        if request is None or request.lent is None:
            return
        replica.request = None
        if is_lost:
            replica.book.failed(request.allowance, ConnectionError(), self.clock)
        else:
            replica.book.answered(request.allowance, request.lent, request.sent, self.clock)
        for waiter, answer in replica.waiting:
            if answer.result is not None:
                self.use(answer.result, request.lent.at_us if waiter is request.needing else None)
        replica.waiting = [each for each in replica.waiting if not each[1].over]
        if request.allowance.waiters:
            self.ask(replica, request.allowance)
        elif replica.book.is_closed:
            self.give_back(replica.book.drain())

    @rule(at=st.integers(0, 2))
    def a_caller_gives_up(self, at: int) -> None:
        for _, answer in self.replicas[at].waiting[:1]:
            answer.over = True

    @rule(most=st.sampled_from([1, 2, 12]))
    def ordinary_hits(self, most: int) -> None:
        for _ in range(most):
            if hit([self.state], [self.limit], 1, self.now)[0].retry_us == 0:
                self.used.append((self.now, 1))
                self.windows.add(getattr(self.state, "start", 0))

    @rule(tenths=st.sampled_from([0.01, 1, 3, 3.3, 3.4, 5, 10]))
    def time_passes(self, tenths: float) -> None:
        self.now += round(tenths * WINDOW_US / 10)

    @rule(at=st.integers(0, 2), us=st.sampled_from([-1, 0, 1]))
    def until_a_loan_ends(self, at: int, us: int) -> None:
        allowance = self.replicas[at].book.allowances.get("a")
        for loan in (allowance.loans if allowance else [])[:1]:
            self.now = max(self.now, 10**15 + round(loan.end * MICRO) + us)

    @rule(at=st.integers(0, 2))
    def sweep(self, at: int) -> None:
        self.give_back(self.replicas[at].book.sweep(self.clock))

    @rule(at=st.integers(0, 2))
    def close(self, at: int) -> None:
        book = self.replicas[at].book
        book.is_closed = True
        self.give_back(book.drain())

    @rule(at=st.integers(0, 2))
    def die_and_be_replaced(self, at: int) -> None:
        self.replicas[at] = self.new_replica()

    def give_back(self, back: list[tuple[str, Loan]]) -> None:
        for _, loan in back:
            assert loan.left > 0
            assert self.state.refund(self.limit, loan.left, loan.end_us, self.now) <= loan.left

    @invariant()
    def no_unit_is_spent_twice(self) -> None:
        for replica in getattr(self, "replicas", []):
            assert all(loan.left >= 0 for each in replica.book.allowances.values() for loan in each.loans)

    def teardown(self) -> None:
        if not hasattr(self, "limit"):
            return
        check_promise(self.limit, sorted(self.used), self.windows)
        self.now += 10 * (WINDOW_US + LIFE_US)
        for replica in self.replicas:
            if replica.request is None:
                replica.book.sweep(self.clock)
                assert not replica.book.allowances, "a key that nobody asks for costs nothing"
