"""The counting of bulkheads beside a plain list of who is there: counts, order, shares, and giving up at any point."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from riskscale import AdaptiveLimit, BulkheadFull
from riskscale.bulkhead.gate import Gate, Ticket

TENANTS = st.sampled_from("abc")


class GateMachine(RuleBasedStateMachine):
    """Tickets in order of arrival; the promises are checked on them, not on the gate's own books."""

    tickets: list[Ticket]

    @initialize(
        limit=st.one_of(st.integers(1, 4), st.just("adaptive")), queued=st.integers(0, 6),
        shares=st.one_of(st.none(), st.tuples(st.integers(1, 3), st.integers(0, 3))),
    )  # fmt: skip
    def begin(self, limit: Any, queued: int, shares: tuple[int, int] | None) -> None:
        self.adaptive = AdaptiveLimit(3, 1, 5) if limit == "adaptive" else None
        self.queued, self.shares = queued, shares
        self.gate = Gate("b", self.adaptive or limit, queued, *(shares or (10**6, None)))
        self.tickets = []
        self.started_before: dict[Ticket, list[str]] = {}
        """Of one that waits: whose turn came meanwhile, while its own tenant might have run more."""

    def running(self, tenant: str | None = None) -> list[Ticket]:
        return [each for each in self.tickets if each.runs and tenant in (None, each.tenant)]

    def waiting(self, tenant: str | None = None) -> list[Ticket]:
        return [each for each in self.tickets if not each.runs and tenant in (None, each.tenant)]

    def has_room(self, tenant: str) -> bool:
        return self.shares is None or len(self.running(tenant)) < self.shares[0]

    @rule(tenants=st.lists(TENANTS, min_size=1, max_size=4))
    def come(self, tenants: list[str]) -> None:
        for tenant in tenants:
            self.one_comes(tenant)

    def one_comes(self, tenant: str) -> None:
        line = "" if self.shares is None else tenant
        may_run = len(self.running()) < self.gate.limit and self.has_room(line)
        may_wait = len(self.waiting()) < self.queued
        may_wait = may_wait and (self.shares is None or len(self.waiting(line)) < self.shares[1])
        if not may_run and not may_wait:
            is_full = len(self.waiting()) == self.queued
            with pytest.raises(BulkheadFull, match="queue full" if is_full else "has its share"):
                self.gate.enter(tenant)
            return
        ticket = self.gate.enter(tenant)
        assert ticket.runs == may_run
        self.tickets.append(ticket)
        if not ticket.runs:
            self.started_before[ticket] = []

    @rule(at=st.integers(0, 20), took=st.one_of(st.none(), st.floats(0.001, 0.1)))
    def leave(self, at: int, took: float | None) -> None:
        """Whoever it is: one that ran ends, one that waits gives up."""
        if not self.tickets:
            return
        ticket = self.tickets.pop(at % len(self.tickets))
        before = self.waiting()
        started = self.gate.leave(ticket, took)
        self.started_before.pop(ticket, None)
        assert all(each.runs and each in before for each in started)
        for number, each in enumerate(started):
            earlier = [one for one in before[: before.index(each)] if one.tenant == each.tenant and one not in started]
            assert not earlier, "within one tenant, in order of arrival"
            del self.started_before[each]
            still = [one for one in before if one not in started[: number + 1]]
            for one in still:
                self.note_turn(one, each, still)
        for one in self.waiting():
            if not self.has_room(one.tenant):
                self.started_before[one] = []

    def note_turn(self, one: Ticket, each: Ticket, still: list[Ticket]) -> None:
        """The first of its tenant sees no other tenant served twice."""
        is_first = next(other for other in still if other.tenant == one.tenant) is one
        if self.shares is None or each.tenant == one.tenant or not is_first or not self.has_room(one.tenant):
            self.started_before[one] = []
            return
        assert each.tenant not in self.started_before[one], "another tenant had two turns before it"
        self.started_before[one].append(each.tenant)

    @invariant()
    def the_counts_are_those_of_the_tickets(self) -> None:
        if not hasattr(self, "gate"):
            return
        gate = self.gate
        assert gate.running == set(self.running()) and gate.waiting == len(self.waiting()) <= self.queued
        assert set(gate.waiters()) == set(self.waiting())
        assert self.adaptive is not None or len(gate.running) <= gate.limit
        if self.shares is not None:
            assert all(len(self.running(each)) <= self.shares[0] for each in "abc")
            assert all(len(self.waiting(each)) <= self.shares[1] for each in "abc")

    @invariant()
    def nobody_waits_beside_a_free_place(self) -> None:
        if hasattr(self, "gate") and len(self.gate.running) < self.gate.limit:
            assert not [each for each in self.waiting() if self.has_room(each.tenant)]

    def teardown(self) -> None:
        for ticket in list(getattr(self, "tickets", [])):
            self.gate.leave(ticket)
        if hasattr(self, "gate"):
            assert not self.gate.running and not self.gate.waiting and not self.gate._lines and not self.gate._runs_of


def test_counts_order_and_shares() -> None:
    run_state_machine_as_test(GateMachine)


def test_without_shares_it_is_first_come_first_served() -> None:
    gate = Gate("b", 1, 9, 10**6, None)
    one, *others = [gate.enter(tenant) for tenant in "aabacb"]
    for expected in others:
        assert gate.leave(one) == [expected]
        one = expected


def test_with_shares_tenants_take_turns() -> None:
    gate = Gate("b", 1, 9, 10**6, 9)
    ticket = gate.enter("z")
    for tenant in "aaabbc":
        gate.enter(tenant)
    served = []
    while started := gate.leave(ticket):
        (ticket,) = started
        served.append(ticket.tenant)
    assert "".join(served) == "abcaba"


def test_a_tenant_that_may_run_no_more_does_not_stop_the_others() -> None:
    gate = Gate("b", 3, 9, 2, 9)
    first, _, third, *_ = [gate.enter(tenant) for tenant in "aaaab"]
    assert [gate.enter("b").runs, third.runs, len(gate.running), gate.waiting] == [False, False, 3, 3]
    assert gate.leave(first) == [third]
    only = Gate("b", 2, 9, 1, 9)
    one, two, other = [only.enter(tenant) for tenant in "aab"]
    assert only.leave(other) == [] and only.leave(one) == [two], "a free place is not for it"


def test_a_limit_that_shrinks_drains() -> None:
    adaptive = AdaptiveLimit(10, 2, 10, queue_size=0, smoothing=1)
    gate = Gate("b", adaptive, 10, 10**6, None)
    running = [gate.enter("") for _ in range(10)]
    waiting = [gate.enter("") for _ in range(5)]
    for took in (*[0.001] * 10, 1.0):
        adaptive.update(took, 10)
    assert gate.limit == 5
    for left in range(9, 4, -1):
        assert gate.leave(running.pop()) == [] and len(gate.running) == left, "nobody is cut off, nobody comes in"
    assert gate.leave(running.pop()) == waiting[:1]


@pytest.mark.parametrize("many", [1, 1000])
def test_nothing_is_left_of_tenants_that_went(many: int) -> None:
    gate = Gate("b", 2, 2000, 1, 1)
    tickets = [gate.enter(str(number)) for number in range(many)]
    for ticket in tickets:
        gate.leave(ticket)
    assert not gate._lines and not gate._runs_of
