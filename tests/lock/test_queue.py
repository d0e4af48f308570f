"""Long queues, dead waiters and shared mailboxes: what a hand-over passes over, and whom it tells."""

from __future__ import annotations

from typing import Any

import pytest

from riskscale._core.scripts import script
from tests.lease.machine import Mailboxes

NOW = 10**15


class Queue:
    """One lock, called with a time of our own."""

    def __init__(self, client: Any, prefix: str) -> None:
        self.client, self.prefix, self.now = client, prefix, NOW
        self.keys = [f"{prefix}rs1:{{job}}:{role}" for role in ("lock", "queue", "wait")]

    def acquire(self, owner: str, mailbox: str = "") -> list[int]:
        words = (owner, 60_000_000, mailbox, "", "", self.now)
        return self.client.eval(script("lock.acquire").text, 3, *self.keys, *words)  # type: ignore[no-any-return]

    def release(self, owner: str) -> list[int]:
        return self.client.eval(script("lock.release").text, 3, *self.keys, owner, "", self.now)  # type: ignore[no-any-return]

    def owner(self) -> str:
        return self.client.hget(self.keys[0], "owner").decode()  # type: ignore[no-any-return]


@pytest.fixture
def queue(raw_client: Any, prefix: str) -> Queue:
    return Queue(raw_client, prefix)


def test_a_hand_over_passes_over_hundreds_of_dead_waiters(queue: Queue) -> None:
    queue.acquire("holder")
    for number in range(350):
        queue.acquire(f"dead{number}")
    queue.now += 3_000_000
    queue.acquire("alive")
    queue.release("holder")
    assert queue.owner() == "alive" and queue.client.zrange(queue.keys[1], 0, -1) == [b"alive"]


def test_a_mailbox_that_nobody_reads_is_tried_once_and_the_next_waiter_is_told(queue: Queue, prefix: str) -> None:
    boxes = Mailboxes(queue.client, queue.prefix)
    for name in ("one", "two"):
        boxes.subscribe(f"{prefix}{name}", True)
    queue.acquire("holder", "-")
    for owner, box in [("g1", "gone"), ("g2", "gone"), ("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")]:
        queue.acquire(owner, f"{prefix}{box}")
    queue.release("holder")
    assert queue.owner() == "a"
    assert boxes.sent() == ["a grant", "c 1001000"], "one message a mailbox: the grant, and a stand-by elsewhere"


def test_a_mailbox_that_leaves_a_grant_unanswered_is_passed_over_until_it_calls(queue: Queue, prefix: str) -> None:
    boxes = Mailboxes(queue.client, queue.prefix)
    for name in ("one", "two"):
        boxes.subscribe(f"{prefix}{name}", True)
    queue.acquire("holder", "-")
    for owner, box in [("a", "one"), ("b", "one"), ("c", "two")]:
        queue.acquire(owner, f"{prefix}{box}")
    queue.release("holder")
    queue.now += 1_000_000  # the claim is over
    assert queue.acquire("c", f"{prefix}two")[0] == 1, "b shares the silent mailbox"
    queue.release("c")
    assert not queue.client.hexists(queue.keys[0], "owner"), "granted to a mailbox that does not answer"
    assert queue.acquire("b", f"{prefix}one")[0] == 1, "it called, so it is alive"


def test_a_grant_is_claimed_by_calling_again(queue: Queue) -> None:
    queue.acquire("holder", "-")
    fence = queue.acquire("next")[1]
    queue.release("holder")
    assert queue.acquire("third", "-")[0] == 0, "nobody takes a granted lock"
    claimed = queue.acquire("next")
    assert claimed[0] == 1 and claimed[1] > fence
    assert queue.release("next")[0] == 1 and queue.release("next")[0] == 1, "a repeated release says so again"


def test_a_waiter_that_gives_up_passes_its_grant_on(queue: Queue) -> None:
    queue.acquire("holder", "-")
    queue.acquire("first")
    queue.acquire("second")
    queue.release("holder")
    assert queue.release("first")[0] == 0
    assert queue.owner() == "second"


def test_holds_are_a_set(queue: Queue) -> None:
    def acquire(hold: str) -> int:
        words = ("me", 60_000_000, "-", hold, "", queue.now)
        return int(queue.client.eval(script("lock.acquire").text, 3, *queue.keys, *words)[0])

    def release(hold: str) -> list[int]:
        return queue.client.eval(script("lock.release").text, 3, *queue.keys, "me", hold, queue.now)[:2]  # type: ignore[no-any-return]

    assert acquire("h1") == acquire("h2") == acquire("h2") == 1
    assert release("h3") == [0, 2]
    assert release("h2") == [1, 1] and release("h2") == [1, 1], "a repeat changes nothing"
    assert release("h1") == [1, 0] and release("h1") == [1, 0]
    assert queue.acquire("other", "-")[0] == 1


def test_one_of_a_thousand_racers_is_woken_though_the_others_are_gone(queue: Queue, prefix: str) -> None:
    boxes = Mailboxes(queue.client, queue.prefix)
    boxes.subscribe(f"{prefix}one", True)
    queue.acquire("holder", "-")
    for number in range(500):
        queue.acquire(f"gone{number}", f"-{prefix}gone")
        queue.acquire(f"here{number}", f"-{prefix}one")
    queue.release("holder")
    (said,) = boxes.sent()
    woken = said.removesuffix(" free")
    assert woken.startswith("here") and not queue.client.hexists(queue.keys[2], f"~{woken}")
    assert queue.acquire(woken, f"-{prefix}one")[0] == 1
