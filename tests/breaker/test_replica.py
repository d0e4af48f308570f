"""One replica and what it sends, without a server: the hard corners, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from riskscale import BreakerPolicy, BreakerState, CircuitOpen
from riskscale.breaker._model import Admission, Step
from riskscale.breaker._pool import Pool
from riskscale.breaker.calls import Asked, BreakerKeys, Snapshot
from riskscale.breaker.shared import SharedReplica
from tests.breaker.machine import snapshot

POLICY = BreakerPolicy(consecutive_failures=3, open_seconds=10, probe_seconds=5, flush_failures=2)
LOST = ConnectionError("lost")


class Bench:
    """A replica, its clock, and what the server would say."""

    def __init__(self, policy: BreakerPolicy = POLICY) -> None:
        self.now = 100.0
        self.replica = SharedReplica("payments", policy, BreakerKeys.of("rs1:{payments}"), "c", lambda: self.now)
        self.server = Pool()
        self.server.generation = 1

    def says(self) -> Snapshot:
        return snapshot(self.server, self.server_us)

    @property
    def server_us(self) -> int:
        return 10**15 + round(self.now * 1e6)

    def force(self, state: BreakerState, seconds: int = 0) -> None:
        self.server.force(Step(POLICY.rules, self.server_us, "ann"), state, seconds * 10**6, "by hand")

    def report(self) -> dict[str, Any]:
        """What it sends, answered."""
        words = self.sends()
        self.replica.reported(self.says())
        return words

    def sends(self) -> dict[str, Any]:
        call = self.replica.report()
        assert call is not None
        args = call.args
        groups = [tuple(args[at : at + 4]) for at in range(24, len(args), 4)]
        return {
            "sequence": args[1],
            "known": args[2:5],
            "run": args[5],
            "votes": args[6],
            "probe": args[7:9],
            "n": groups,
        }

    def call(self, *outcomes: bool) -> None:
        for failed in outcomes:
            permit = self.replica.enter_closed() or self.replica.enter()
            assert permit is not None
            self.replica.leave(permit, failed)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.report()
    return bench


def test_what_was_not_answered_is_sent_again_as_it_was(bench: Bench) -> None:
    bench.call(True, False)
    first = bench.sends()
    bench.replica.failed(LOST)
    bench.call(True)
    bench.now += 2
    again = bench.sends()
    assert (
        again["sequence"] == first["sequence"] and first["n"] == [(0, 2, 1, 0)] and again["n"] == [(2_000_000, 2, 1, 0)]
    )
    bench.replica.reported(bench.says())
    rest = bench.report()
    assert rest["sequence"] == first["sequence"] + 1 and rest["n"] == [(2_000_000, 1, 1, 0)]
    assert bench.report()["n"] == [(0, 0, 0, 0)]


def test_what_is_of_an_older_generation_is_not_sent(bench: Bench) -> None:
    bench.call(True)
    bench.sends()
    bench.replica.failed(LOST)
    bench.call(False)
    bench.force(BreakerState.CLOSED)
    bench.replica.told(bench.says())
    assert bench.report()["n"] == [(0, 0, 0, 0)], "not what was unanswered"
    assert bench.report()["n"] == [(0, 0, 0, 0)], "nor what came after"


def test_one_report_is_under_way_at_a_time(bench: Bench) -> None:
    bench.sends()
    assert bench.replica.report() is None and bench.replica.due_in == float("inf")
    bench.replica.failed(LOST)
    assert bench.replica.due_in == 1


def test_it_reports_at_once_after_so_many_failures_or_when_it_opens(bench: Bench) -> None:
    woken: list[int] = []
    bench.replica.wake = lambda: woken.append(1)
    bench.call(True, False)
    assert bench.replica.due_in == 1 and not woken
    bench.call(True)
    assert bench.replica.due_in == 0 and woken
    bench.report()
    bench.call(True, True)
    assert bench.replica.state is BreakerState.OPEN and bench.replica.due_in == 0
    words = bench.report()
    assert (words["run"], words["votes"], words["known"]) == (3, 1, (1, "closed", 0))
    assert bench.report()["run"] == 3, "it has not got over it"


def test_what_opened_before_the_first_contact_opens_all() -> None:
    bench = Bench()
    bench.call(True, True, True)
    bench.sends()
    bench.replica.failed(LOST)
    bench.now += 1
    assert bench.report()["known"][0] == 0
    assert bench.replica.state is BreakerState.OPEN and bench.replica.due_in == 0
    words = bench.report()
    assert (words["run"], words["votes"], words["known"]) == (3, 1, (1, "closed", 0))


def test_what_opened_before_the_first_contact_follows_one_that_is_open() -> None:
    bench = Bench()
    bench.call(True, True, True)
    bench.force(BreakerState.OPEN, 60)
    bench.report()
    assert bench.replica.state is BreakerState.OPEN and bench.replica.remaining == 60


def opened(bench: Bench, seconds: int = 10) -> None:
    bench.force(BreakerState.OPEN, seconds)
    bench.replica.told(bench.says())


def test_it_asks_before_it_tries_one_at_a_time(bench: Bench) -> None:
    opened(bench)
    with pytest.raises(CircuitOpen) as caught:
        bench.replica.enter()
    assert caught.value.retry_after == 10
    bench.now += 10
    assert bench.replica.enter() is None
    with pytest.raises(CircuitOpen):
        bench.replica.enter()
    token, _ = bench.replica.probe()
    step = Step(POLICY.rules, bench.server_us, "x")
    permit = bench.replica.probed(token, Asked(bench.server.probe(step, token), bench.says()))
    assert permit.is_shared and bench.replica.state is BreakerState.HALF_OPEN
    bench.replica.leave(permit, False)
    assert bench.replica.due_in == 0 and bench.report()["probe"] == (token, "success")


def test_a_refused_probe_is_not_asked_for_again_too_soon(bench: Bench) -> None:
    opened(bench)
    bench.now += 10
    assert bench.replica.enter() is None
    bench.server.probe(Step(POLICY.rules, bench.server_us, "x"), "of another")
    token, _ = bench.replica.probe()
    with pytest.raises(CircuitOpen) as caught:
        bench.replica.probed(token, Asked(Admission(0, 5_000_000), bench.says()))
    assert caught.value.retry_after == 1
    with pytest.raises(CircuitOpen):
        bench.replica.enter()
    bench.now += 1
    assert bench.replica.enter() is None, "after refresh_seconds: a permit may have come back"


@pytest.mark.parametrize("error", [LOST, None])
def test_a_permit_that_was_perhaps_given_is_given_back(bench: Bench, error: Exception | None) -> None:
    opened(bench)
    bench.now += 10
    assert bench.replica.enter() is None
    token, _ = bench.replica.probe()
    bench.replica.not_probed(token, error)
    if error is None:
        assert bench.replica.enter() is None, "the one who asked was cancelled: the next one asks"
    else:
        permit = bench.replica.enter()
        assert permit is not None and not permit.is_shared, "by the same policy, alone"
    bench.now += 1
    assert bench.report()["probe"] == (token, "back")


def test_alone_it_goes_on_from_what_it_knew(bench: Bench) -> None:
    opened(bench)
    bench.sends()
    bench.replica.failed(LOST)
    with pytest.raises(CircuitOpen) as caught:
        bench.replica.enter()
    assert caught.value.retry_after == 10
    bench.now += 10
    permit = bench.replica.enter()
    assert permit is not None
    bench.replica.leave(permit, False)
    assert bench.replica.state is BreakerState.CLOSED
    words = bench.sends()
    assert words["known"] == (bench.server.generation, "open", 0), "what it did alone is not what all did"
    bench.replica.reported(bench.says())
    assert bench.replica.state is BreakerState.OPEN and bench.replica.enter() is None


def test_a_server_that_does_not_answer_counts_as_gone(bench: Bench) -> None:
    opened(bench)
    bench.sends()
    bench.now += 10
    assert bench.replica.enter() is not None, "its report has been under way for longer than a second"


def test_no_call_waits_for_a_report_that_is_overdue() -> None:
    bench = Bench()
    assert bench.replica.is_stale
    bench.sends()
    assert bench.replica.is_stale, "the reply may come any moment"
    bench.now += 1.1
    assert not bench.replica.is_stale
    bench.replica.failed(LOST)
    assert not bench.replica.is_stale


def test_messages(bench: Bench) -> None:
    def push(of: Snapshot) -> None:
        counts = " ".join(map(str, of.counts))
        head = [of.state, of.before, of.generation, of.remaining_us, of.since_us, of.length_us, of.opens]
        words = [*head, int(of.forced), of.by, counts, ",".join(map(str, of.policy or ())), of.reason]
        bench.replica.put(" ".join(map(str, words)))

    old = bench.says()
    bench.force(BreakerState.OPEN, 10)
    new = bench.says()
    push(new)
    assert bench.replica.state is BreakerState.CLOSED, "the mailbox is locked: it looks later"
    bench.replica.look()
    assert bench.replica.state is BreakerState.OPEN and bench.replica.remaining == 10
    push(old)
    bench.replica.look()
    assert bench.replica.state is BreakerState.OPEN, "of an older generation"
    push(bench.says()._replace(generation=new.generation + 1, policy=(*POLICY.rules, 1)))  # type: ignore[arg-type]
    bench.replica.look()
    assert bench.replica._known.generation == new.generation + 1, "a later release, whose policies say more"
    bench.server.generation += 1
    for odd in ("", "what is this", "open closed x 1 1 1 1 1 by 1 1 1  why"):
        bench.report()
        bench.replica.put(odd)
        bench.replica.look()
        assert bench.replica.due_in == 0, "it reads again"


def test_when_the_time_of_disabled_is_over_the_server_is_told(bench: Bench) -> None:
    bench.force(BreakerState.DISABLED, 5)
    bench.replica.told(bench.says())
    bench.call(True, True, True, True)
    assert bench.report()["n"] == [(0, 0, 0, 0)], "not counted"
    bench.now += 5
    assert bench.replica.due_in > -5
    bench.call(True)
    assert bench.replica.due_in == 0 and bench.replica.state is BreakerState.DISABLED
