"""Quota leases for threads; see :mod:`riskscale.rate.borrower`.

Who needs units asks for them in its own thread. What is asked for in advance, for others who still wait, and what is
given back, is the work of one thread, which lives as long as there is something to look after.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue

from riskscale._core.call import Finish, Flow
from riskscale.errors import HubClosed, StateError
from riskscale.rate.calls import Decided, Decision, Pairs
from riskscale.rate.lending import LoanPlan
from riskscale.rate.loans import Allowance, Book, Loan, Waiter
from riskscale.sync.hub import Hub

log = logging.getLogger("riskscale.rate")


class Borrower:
    """For threads."""

    def __init__(self, hub: Hub, loans: LoanPlan, book: Book, is_plain: Callable[[], bool]) -> None:
        self._hub, self._loans, self._book, self._is_plain = hub, loans, book, is_plain
        self.mutex = threading.Lock()
        self._work: SimpleQueue[Allowance | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        hub._leases.add(self)

    def known(self, key: str, cost: int) -> Decision | None:
        """What can be decided here."""
        self._check()
        with self.mutex:
            return self._decide(key, cost)

    def decide(self, pairs: Pairs) -> Decided:
        """The decisions of whoever waits for units, or that a key holds something else; in as few calls as they fit."""
        self._check()
        for key, _ in pairs:
            self._loans.key_of(key)  # checked before anybody waits
        answers: list[Future[Decision]] = [Future() for _ in pairs]
        with self.mutex:
            mine = [each for pair, answer in zip(pairs, answers, strict=True) if (each := self._join(*pair, answer))]
        try:
            while mine:
                batch, mine = mine[: self._loans.most], mine[self._loans.most :]
                self._hub.drive(self._borrow(batch))
            return [_outcome(answer) for answer in answers]
        finally:
            with self.mutex:
                for answer in answers:
                    answer.cancel()
                for allowance in mine:  # interrupted: others may wait for them by now
                    self._leave_to_the_thread(allowance)

    def ask(self, allowance: Allowance) -> None:
        """Have more asked for, unless that is under way. The mutex is held."""
        allowance.is_due = False
        if not allowance.is_asking:
            self._leave_to_the_thread(allowance)

    def give_back(self) -> None:
        """Return everything; from now on nothing is lent."""
        with self.mutex:
            self._book.is_closed = True
            back, thread = self._book.drain(), self._thread
            self._work.put(None)
        self._hub.drive(self._returns(back))
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)  # unless it hangs in a call

    def _check(self) -> None:
        self._hub.check_open()
        if self._book.is_closed:
            raise HubClosed("the limiter is closed")

    def _join(self, key: str, cost: int, answer: Future[Decision]) -> Allowance | None:
        """Decide, or wait; the allowance that nobody asks for yet."""
        decision = self._decide(key, cost)
        if decision is not None:
            answer.set_result(decision)
            return None
        allowance = self._book.of(key)
        allowance.waiters.append(Waiter(cost, answer))
        is_first, allowance.is_asking = not allowance.is_asking, True
        return allowance if is_first else None

    def _decide(self, key: str, cost: int) -> Decision | None:
        decision = self._book.decide(key, cost, self._hub.monotonic())
        if decision is not None and (allowance := self._book.allowances[key]).is_due:
            self.ask(allowance)
        return decision

    def _borrow(self, allowances: Sequence[Allowance]) -> Flow[None]:
        """One request for several keys. Whom it leaves waiting, also where it was interrupted, the thread serves."""
        book, now = self._book, self._hub.monotonic
        with self.mutex:
            wanted = [(each, item) for each in allowances if (item := book.request(each, self._is_plain(), now()))]
        items, asked, sent = [item for _, item in wanted], [each for each, _ in wanted], now()
        ended: list[Allowance] = []
        try:
            if items:
                lents = yield self._loans.lend(items)
                with self.mutex:
                    for each, lent in zip(asked, lents, strict=True):
                        book.answered(each, lent, sent, now())
                    ended = asked
        except Exception as error:
            with self.mutex:
                for each in asked:
                    book.failed(each, error, now())
                ended = asked
        finally:
            with self.mutex:
                for each in asked:
                    if each.waiters or each not in ended:
                        self._leave_to_the_thread(each)
                back = book.drain() if book.is_closed else []
                self._see_that_it_runs()
        yield from self._returns(back)

    def _returns(self, back: Sequence[tuple[str, Loan]]) -> Flow[None]:
        for key, loan in back:
            try:
                yield Finish(self._book.give_back(key, loan), last=True)
            except Exception as error:
                log.warning("a loan could not be given back: %s", type(error).__name__)

    def _leave_to_the_thread(self, allowance: Allowance) -> None:
        allowance.is_asking = True
        self._work.put(allowance)
        self._see_that_it_runs()

    def _see_that_it_runs(self) -> None:
        if self._thread is None and not self._is_idle():
            self._thread = threading.Thread(target=self._run, name="riskscale-borrower", daemon=True)
            self._thread.start()

    def _is_idle(self) -> bool:
        return self._work.empty() and (self._book.is_closed or self._book.sweep_at == math.inf)

    def _run(self) -> None:
        while True:
            with self.mutex:
                if self._is_idle():
                    self._thread = None
                    return
                pause = max(self._book.sweep_at - self._hub.monotonic(), self._book.life / 8)
            self._hub.drive(self._borrow(self._next_batch(None if pause == math.inf else pause)))
            with self.mutex:
                back = self._book.sweep(self._hub.monotonic())
            self._hub.drive(self._returns(back))

    def _next_batch(self, pause: float | None) -> list[Allowance]:
        """What one call can ask for; on a cluster of one slot."""
        batch: list[Allowance] = []
        with suppress(Empty):
            first = self._work.get(timeout=pause)
            while True:
                batch += [first] if first is not None else []
                if len(batch) == self._loans.most or self._hub.is_cluster:
                    break
                first = self._work.get_nowait()
        return batch


def _outcome(answer: Future[Decision]) -> Decision | StateError:
    try:
        return answer.result()
    except HubClosed:
        raise
    except StateError as error:
        return error
