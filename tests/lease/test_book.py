"""The keeper's reckoning in virtual time: when to renew, in what batches, what is lost and when."""

from __future__ import annotations

import math
import weakref

import pytest

from riskscale.lease.book import BATCH, Book, Watch
from riskscale.lease.grant import Grant, Seen
from riskscale.lock.calls import LockKeys
from riskscale.lock.spec import LockSpec


class Holder:
    """What a user holds."""


HOLDER = Holder()


def watched(name: str = "job", *, at: float = 100.0, ttl: float = 3.0, renews: bool = True, **more: float) -> Watch:
    spec = LockSpec(name=name, keys=LockKeys.of(f"rs1:{{{name}}}"), ttl_us=int(ttl * 1e6))
    grant = Grant(spec=spec, token=f"t-{name}")
    grant.granted(Seen(True, 7, 0.0, -1, at), at)
    return Watch(grant=grant, lease=weakref.ref(HOLDER), renews=renews, **more)


def book(*watches: Watch, slots: int = 1) -> Book:
    made = Book(lambda key: hash(key) % slots)
    for each in watches:
        made.add(each)
    return made


def test_a_lease_is_renewed_at_a_third_of_its_ttl_and_counts_from_the_send() -> None:
    watch = watched()
    kept = book(watch)
    assert kept.next_at() == pytest.approx(101.0) and kept.look(100.9) == ([], [])
    lost, (batch,) = kept.look(101.0)
    assert not lost and batch.call.script == "lock.renew" and batch.call.args == ("t-job", 3_000_000)
    assert kept.answered(batch, [7]) == []
    assert watch.grant.deadline == pytest.approx(104.0) and kept.next_at() == pytest.approx(102.0)


def test_a_renewal_that_hangs_does_not_keep_the_holder_from_hearing_in_time() -> None:
    watch = watched()
    kept = book(watch)
    kept.look(101.0)
    assert kept.next_at() == pytest.approx(102.9), "a twentieth of the ttl before the end, 0.1 s at most"
    assert kept.look(102.89) == ([], [])
    assert kept.look(102.9) == ([watch], [])
    assert kept.next_at() == math.inf


def test_an_answer_after_the_loss_does_not_bring_the_lease_back() -> None:
    watch = watched()
    kept = book(watch)
    _, (batch,) = kept.look(101.0)
    (lost,), _ = kept.look(102.95)
    lost.grant.lost = True
    assert kept.answered(batch, [7]) == [] and watch.grant.lost and watch.grant.deadline == pytest.approx(103.0)


def test_what_fails_is_tried_again_until_the_end() -> None:
    watch = watched()
    kept = book(watch)
    now, tries = 101.0, 0
    while True:
        lost, batches = kept.look(now)
        if lost:
            break
        for batch in batches:
            tries += 1
            kept.failed(batch, now)
        now = kept.next_at()
    assert tries == 7 and now == pytest.approx(102.9), "every tenth of the ttl from 101 on"


def test_the_server_says_that_it_is_lost() -> None:
    watch, other = watched(), watched("other")
    kept = book(watch, other)
    _, (batch,) = kept.look(101.0)
    assert kept.answered(batch, [7 if each is other else 0 for each in batch.watches]) == [watch]
    assert watch.grant.lost and watch.grant.gone and not other.grant.lost
    assert kept.watches == {other}


def test_those_nearly_due_travel_along_in_batches_of_one_slot() -> None:
    watches = [watched(f"l{at}", at=100 + at * 0.0001) for at in range(1500)]
    lost, batches = book(*watches).look(101.0)
    assert not lost and [len(batch.watches) for batch in batches] == [BATCH, BATCH, 1500 - 2 * BATCH]
    by_slot = book(*(watched(f"m{at}") for at in range(100)), slots=3)
    _, batches = by_slot.look(101.0)
    slots = [{hash(each.grant.spec.key) % 3 for each in batch.watches} for batch in batches]
    assert len(batches) == 3 and all(len(of) == 1 for of in slots)


def test_max_lifetime_cuts_the_last_renewal_and_then_the_lease_ends() -> None:
    watch = watched(stop_at=104.5)
    kept = book(watch)
    lengths, now = [], 0.0
    while True:
        now = kept.next_at()
        lost, batches = kept.look(now)
        if lost:
            break
        for batch in batches:
            lengths.append(batch.call.args[1])
            kept.answered(batch, [7])
    assert lengths[:1] == [3_000_000] and lengths[-1] < 3_000_000
    assert watch.grant.deadline == pytest.approx(104.5, abs=0.002) and now == pytest.approx(104.4, abs=0.01)


def test_a_lease_that_nobody_has_any_more_is_left_to_end() -> None:
    holder = Holder()
    watch = watched()
    watch.lease = weakref.ref(holder)
    kept = book(watch)
    del holder
    assert kept.look(101.0) == ([watch], []) and not kept.watches


def test_one_that_is_not_renewed_is_told_of_its_end_alone() -> None:
    watch = watched(renews=False)
    kept = book(watch)
    assert kept.next_at() == pytest.approx(102.9)
    watch.grant.deadline += 5  # by hand
    kept.changed(watch)
    assert kept.look(102.9) == ([], []) and kept.next_at() == pytest.approx(107.9)


def test_of_overlapping_renewals_the_earliest_end_counts() -> None:
    grant = watched().grant
    long = grant.renewing(101.0, 3_000_000)
    short = grant.renewing(101.1, 500_000)
    assert grant.deadline == pytest.approx(101.6), "it may be the last to arrive"
    assert grant.renewed(long, 7) and grant.deadline == pytest.approx(101.6)
    assert grant.renewed(short, 7) and grant.deadline == pytest.approx(101.6)
    until = grant.renewing(101.2, 3_000_000)
    assert grant.renewed(until, 7) and grant.deadline == pytest.approx(104.2)
    failed = grant.renewing(101.3, 500_000)
    assert grant.renewed(failed, None) and grant.deadline == pytest.approx(101.8), "its outcome is unknown"


def test_renewing_by_hand_does_not_make_the_book_grow() -> None:
    watch = watched()
    kept = book(watch)
    for _ in range(1000):
        watch.grant.deadline += 0.001
        kept.changed(watch)
    assert len(kept._heap) == 1
