"""Semaphores with many waiters, dead ones ahead, lost keys: what a hand-over serves, passes over and tells."""

from __future__ import annotations

from typing import Any

import pytest

from riskscale._core.scripts import script
from tests.lease.machine import Mailboxes
from tests.semaphore.test_model import ROLES

NOW = 10**15


class Shares:
    """One semaphore, called with a time of our own."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client, self.now = client, NOW
        self.keys = [f"{prefix}rs1:{{job}}:{role}" for role in ROLES]

    def call(self, name: str, *words: str | int, keys: int = 4) -> list[Any]:
        text = script(f"semaphore.{name}").text
        return self.client.eval(text, keys, *self.keys[:keys], *words, self.now)  # type: ignore[no-any-return]

    def acquire(self, owner: str, mailbox: str = "", weight: int = 1, limit: int = 10, ttl: int = 60_000_000) -> bool:
        return bool(self.call("acquire", owner, ttl, mailbox, weight, limit, "", "")[0])

    def queues(self, owner: str, mailbox: str = "", most: int = 3) -> int:
        """Its place in a queue of at most so many, -1: it has none."""
        return int(self.call("acquire", owner, 60_000_000, mailbox, 2, 10, most, "")[3])

    def release(self, owner: str) -> list[Any]:
        return self.call("release", owner)

    def holders(self) -> set[str]:
        reply = self.call("inspect", 1000)
        return {reply[at + 1].decode() for at in range(5, len(reply), 7) if reply[at]}


@pytest.fixture
def shares(raw_client: Any, prefix: str) -> Shares:
    return Shares(raw_client, prefix)


def test_a_hundred_are_granted_in_one_call_and_their_claims_serve_the_others(shares: Shares) -> None:
    assert shares.acquire("writer", weight=1000, limit=1000)
    for number in range(250):
        assert not shares.acquire(f"r{number}", limit=1000)
    shares.release("writer")
    assert len(shares.holders()) == 100
    assert not shares.acquire("late", "-", limit=1000), "others wait before it"
    assert len(shares.holders()) == 200, "any call goes on with it"
    assert shares.acquire("r0", limit=1000) and len(shares.holders()) == 250, "a claim is a call"
    assert shares.call("inspect", 0)[4] == 0


def test_a_great_weight_waits_at_the_head_and_is_not_passed(shares: Shares) -> None:
    assert shares.acquire("a", weight=5) and not shares.acquire("great", weight=10)
    assert not shares.acquire("small", "-") and not shares.acquire("queued")
    shares.release("a")
    assert shares.holders() == {"great"}
    assert shares.acquire("great", weight=10)
    shares.release("great")
    assert shares.holders() == {"queued"}


def test_a_great_weight_that_died_is_asked_and_passed(shares: Shares, prefix: str) -> None:
    boxes, box = Mailboxes(shares.client, prefix), f"{prefix}one"
    boxes.subscribe(box, True)
    shares.acquire("a", weight=5)
    shares.acquire("great", box, weight=10)
    shares.now += 1_999_999
    assert not shares.acquire("b", "-") and boxes.sent() == [], "it called a moment ago"
    shares.now += 1
    assert not shares.acquire("b", "-") and boxes.sent() == ["great 1000"], "asked to call"
    boxes.subscribe(box, False)
    assert shares.acquire("b", "-"), "it is gone"


def test_a_lease_that_was_shortened_ends_when_it_says(shares: Shares) -> None:
    shares.acquire("a", weight=10)
    assert shares.call("renew", "a", 1_000_000, keys=1)[1] > 0
    shares.now += 999_999
    assert not shares.acquire("b", "-", weight=10)
    shares.now += 1
    assert shares.call("renew", "a", 1_000_000, keys=1)[1] == 0, "it has ended at this very microsecond"
    assert shares.acquire("b", "-", weight=10)
    assert shares.call("renew", "a", 1_000_000, keys=1)[1] == 0


def test_a_mailbox_that_leaves_a_grant_unanswered_is_passed_over_until_it_calls(shares: Shares, prefix: str) -> None:
    boxes, silent, other = Mailboxes(shares.client, prefix), f"{prefix}silent", f"{prefix}other"
    for box in (silent, other):
        boxes.subscribe(box, True)
    shares.acquire("holder", "-", weight=10)
    for owner, box, weight in [("a", silent, 10), ("b", silent, 10), ("c", other, 5), ("d", silent, 1)]:
        shares.acquire(owner, box, weight)
    shares.release("holder")
    assert boxes.sent() == ["a grant", "c 1001000"]
    assert shares.call("renew", "a", 60_000_000, keys=1)[1] == 0, "it must be claimed first"
    shares.now += 1_000_000  # the claim is over
    assert shares.acquire("c", other, 5) and shares.holders() == {"c"}, "b and d share the silent mailbox"
    assert shares.acquire("e", "-", 5), "b, for which there is no room, is in nobody's way"
    shares.release("e")
    assert boxes.sent() == []
    assert shares.acquire("d", silent) is False and boxes.sent() == [], "it calls again; b is alive, and before it"
    shares.release("c")
    assert shares.holders() == {"b"} and boxes.sent() == ["b grant"]


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_lost_key_leaves_no_wrong_sum(shares: Shares, lost: int) -> None:
    """Eviction takes any key. The hash is who holds it; the zset is made anew from it."""
    for number in range(3):
        assert shares.acquire(f"h{number}", weight=3)
    assert not shares.acquire("w", weight=3)
    shares.client.delete(shares.keys[lost])
    assert shares.acquire("new", "-", weight=3) == (lost == 0), "the hash is gone: nobody holds it any more"
    if lost == 0:
        assert [shares.call("renew", f"h{number}", 60_000_000, keys=1)[1] for number in range(3)] == [0, 0, 0]
        assert shares.holders() == {"new", "w"} and shares.call("inspect", 0)[2] == 6
        return
    assert shares.holders() == {"h0", "h1", "h2"}
    for number in range(3):
        assert shares.release(f"h{number}")[0] == 1
    shares.acquire("w", weight=3)
    assert shares.holders() == {"w"}, "a waiter that calls again finds its place, or a new one"
    assert shares.release("w")[1] == 0 and shares.call("inspect", 0)[1:3] == [0, 0]


def test_many_leases_end_at_once(shares: Shares) -> None:
    for number in range(350):
        assert shares.acquire(f"h{number}", "-", limit=350, ttl=1_000_000)
    shares.now += 1_000_000
    for number in range(4):  # a hundred are dropped in each call
        shares.acquire(f"n{number}", "-", limit=350)
    assert shares.holders() == {f"n{number}" for number in range(4)}
    assert shares.call("inspect", 0)[1:3] == [4, 4]


def test_repeats(shares: Shares) -> None:
    assert shares.acquire("a", "-", weight=4) and shares.acquire("a", "-", weight=4)
    assert shares.call("inspect", 0)[1:3] == [1, 4]
    assert [shares.release("a")[:2] for _ in range(2)] == [[1, 0], [1, 0]]
    assert shares.release("never")[0] == 0
    for number in range(32):
        shares.acquire(f"o{number}", "-")
        shares.release(f"o{number}")
    assert shares.release("a")[0] == 0 and shares.release("o0")[0] == 1, "the last 32 are remembered"


def test_several_leases_of_one_semaphore_are_renewed_in_one_call(shares: Shares, raw_client: Any) -> None:
    for owner in ("a", "b"):
        shares.acquire(owner, "-")
    shares.now += 30_000_000
    words = [word for owner in ("a", "gone", "b") for word in (owner, 60_000_000)]
    reply = raw_client.eval(script("semaphore.renew").text, 3, *[shares.keys[0]] * 3, *words, shares.now)
    assert reply[1] > 0 and reply[2] == 0 and reply[3] > reply[1]
    shares.now += 59_999_999
    assert shares.holders() == {"a", "b"}


def test_no_more_wait_than_may(shares: Shares, prefix: str) -> None:
    shares.acquire("holder", "-", weight=10)
    assert [shares.queues(f"w{number}") for number in range(4)] == [0, 1, 2, -1]
    assert [shares.queues(f"w{number}") for number in range(4)] == [0, 1, 2, -1], "those who wait keep their place"
    assert shares.queues("small", most=2) == -1 and shares.queues("great", most=4) == 3, "each by its own bound"
    assert shares.queues("none", most=0) == -1 and shares.call("inspect", 0)[4] == 4
    shares.release("w1")
    shares.release("w2")
    assert shares.queues("w1") == 2 and shares.queues("w2") == -1, "who gave up begins anew"
    shares.release("holder")
    assert shares.holders() == {"w0", "great", "w1"} and shares.queues("next", most=0) == -1


def test_the_dead_take_up_no_room(shares: Shares, prefix: str) -> None:
    boxes, box = Mailboxes(shares.client, prefix), f"{prefix}one"
    boxes.subscribe(box, True)
    shares.acquire("holder", "-", weight=10)
    assert [shares.queues("boxed", box), shares.queues("second", box), shares.queues("poller")] == [0, 1, 2]
    shares.now += 2_499_999
    assert shares.queues("new") == -1 and boxes.sent() == ["boxed 1000"], "it answers for its mailbox"
    shares.now += 1
    assert shares.queues("new") == -1, "the poller is dead; looked for once a second"
    shares.now += 999_998
    assert shares.queues("new") == -1
    shares.now += 1
    assert shares.queues("new") == 2
    boxes.subscribe(box, False)
    shares.now += 1_000_000
    assert shares.queues("newer", most=2) == 1, "a mailbox that nobody reads, and the two who waited by it"
    assert shares.call("inspect", 0)[4] == 2
