"""Those who wait, in plain Python: what the models of locks and semaphores share. The same steps as ``lua/_lib``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

CLAIM_US = 1_000_000
BOX_ALIVE_US = 30_000_000
POLL_ALIVE_US = 2_500_000
POLL_US = 500_000
LOOK_US = 10_000_000
KEEP_US = 60_000_000

Answer = Literal["next", "tell", "stop"]
Reached = Callable[[str, str], bool]


@dataclass(slots=True)
class Waiting:
    """One in the queue; ``weight`` and ``limit`` are a semaphore's."""

    alive_until: int
    mailbox: str
    weight: int = 1
    limit: int = 1


@dataclass(slots=True)
class QueueModel:
    """One queue. ``publish`` says whether a mailbox is subscribed; it gets (mailbox, message)."""

    publish: Callable[[str, str], bool] = lambda mailbox, message: False
    queue: dict[str, Waiting] = field(default_factory=dict)
    condemned: set[str] = field(default_factory=set)
    boxes: dict[str, bool] = field(default_factory=dict)
    """The mailboxes tried in this call."""

    def join(
        self, owner: str, mailbox: str, now_us: int, lease_us: int, weight: int = 1, limit: int = 1
    ) -> tuple[int, int]:
        """Queue, or show that one is alive; when to look again, and the rank."""
        alive_until = now_us + (BOX_ALIVE_US if mailbox else POLL_ALIVE_US)
        self.queue[owner] = Waiting(alive_until, mailbox, weight, limit)
        rank = list(self.queue).index(owner)
        wait_us = lease_us + 1000 + rank * CLAIM_US
        return max(1000, min(wait_us, LOOK_US if mailbox else POLL_US)), rank

    def walk(
        self, me: str, now_us: int, offer: Callable[[str, Waiting, Reached], Answer], *, again: bool = False
    ) -> None:
        """``walk`` of ``lua/_lib/queue.lua``; ``again`` in one call."""
        self.boxes = boxes = self.boxes if again else {}
        telling = False

        def reached(mailbox: str, message: str) -> bool:
            if boxes.get(mailbox) is not False:
                known = mailbox in boxes or mailbox not in self.condemned
                boxes[mailbox] = known and self.publish(mailbox, message)
            return boxes[mailbox]

        for token, waiter in list(self.queue.items()):
            alive, mailbox = waiter.alive_until > now_us, waiter.mailbox
            if not telling and not alive and token != me:
                del self.queue[token]
            elif not telling:
                answer = offer(token, waiter, reached)
                if answer == "stop":
                    return
                telling = answer == "tell"
            others = telling and alive and mailbox and mailbox not in boxes
            if others and reached(mailbox, f"{token} {CLAIM_US + 1000}"):
                return
