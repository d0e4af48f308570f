"""The semaphore in plain Python: the oracle of the tests. The same steps as ``lua/semaphore``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from riskscale.lease._queue_model import BOX_ALIVE_US, CLAIM_US, KEEP_US, Answer, QueueModel, Reached, Waiting

ASK_US = 2_000_000
FULL_US = 1_000_000
MOST_GRANTS = 100
REMEMBERED = 32


class Acquired(NamedTuple):
    """The reply of ``semaphore.acquire``, without ``at_us``."""

    acquired: bool
    fence: int
    wait_us: int
    rank: int


class Released(NamedTuple):
    """The reply of ``semaphore.release``, without ``at_us``."""

    released: bool
    holds: int


@dataclass(slots=True)
class Held:
    """One lease. ``look_at`` is when its end is looked at: not after it, and before it where it was renewed."""

    weight: int
    fence: int
    ttl_us: int
    end_us: int
    claimed: bool
    mailbox: str
    look_at: int


@dataclass(slots=True)
class SemaphoreModel(QueueModel):
    """One semaphore."""

    leases: dict[str, Held] = field(default_factory=dict)
    fence: int = 0
    seen_us: int = 0
    shift_us: int = 0
    until_us: int = 0
    early_us: float = math.inf
    full_us: int = 0
    previous: list[str] = field(default_factory=list)
    _changed: bool = False

    @property
    def sum(self) -> int:
        """All weights together."""
        return sum(lease.weight for lease in self.leases.values())

    def time_us(self, now_us: int) -> int:
        """Its own time, which never goes back."""
        return max(now_us + self.shift_us, self.seen_us)

    def acquire(
        self,
        owner: str,
        ttl_us: int,
        mailbox: str,
        weight: int,
        limit: int,
        now_us: int,
        max_queued: float = math.inf,
    ) -> Acquired:
        """``semaphore.acquire``."""
        self._tick(now_us)
        time_us, waits, mailbox = self.time_us(now_us), mailbox != "-", mailbox.removeprefix("-")
        self.condemned.discard(mailbox)
        mine = self.leases.get(owner)
        if mine is not None and mine.end_us > time_us:
            claim, mine.claimed, mine.mailbox = not mine.claimed, True, mailbox
            self._set(mine, ttl_us, time_us)
            if claim:
                self._hand_over("", now_us)
            self.seen_us = time_us
            return Acquired(True, mine.fence, 0, -1)
        self._changed |= self.leases.pop(owner, None) is not None
        self._sweep(owner, time_us)

        def take() -> bool:
            if self.sum + weight > limit:
                return False
            self.queue.pop(owner, None)
            self._add(owner, Waiting(0, mailbox, weight), ttl_us, True, now_us)
            return True

        if self._hand_over(owner, now_us, take) and owner not in self.leases:
            take()
        if self._changed:
            self.seen_us = time_us
        if owner in self.leases:
            return Acquired(True, self.leases[owner].fence, 0, -1)
        first = min((lease.look_at for lease in self.leases.values()), default=0)
        lease_us = max(0, int(min(first, self.early_us)) - time_us)
        if not waits or self._is_full(owner, max_queued, time_us):
            return Acquired(False, self.fence, max(lease_us, 1000), -1)
        return Acquired(False, self.fence, *self.join(owner, mailbox, time_us, lease_us, weight, limit))

    def release(self, owner: str, now_us: int) -> Released:
        """``semaphore.release``."""
        self._tick(now_us)
        time_us, had = self.time_us(now_us), owner in self.previous
        mine, queued = self.leases.pop(owner, None), self.queue.pop(owner, None)
        if mine is None and queued is None:
            return Released(had, len(self.leases))
        released = mine is not None and mine.claimed and mine.end_us > time_us
        if mine is not None:
            others = [token for token in self.previous if token != owner][: REMEMBERED - 1]
            self.previous = [owner, *others] if released else others
        self._sweep(owner, time_us)
        self._hand_over("", now_us)
        self.seen_us = time_us
        return Released(released, len(self.leases))

    def renew(self, owner: str, ttl_us: int, now_us: int) -> int:
        """``semaphore.renew`` of one lease: its fence, or 0."""
        mine, time_us = self.leases.get(owner), self.time_us(now_us)
        if mine is None or not mine.claimed or mine.end_us <= time_us:
            return 0
        look_at, end_us = mine.look_at, mine.end_us
        self._set(mine, ttl_us, time_us)
        mine.look_at = look_at  # one key for each lease that is renewed: the order of looks is in another
        if mine.end_us < end_us:
            self.early_us = min(self.early_us, mine.end_us)
        self.shift_us, self.seen_us = time_us - now_us, time_us
        return mine.fence

    def _tick(self, now_us: int) -> None:
        self.shift_us = self.time_us(now_us) - now_us
        self._changed = self.early_us <= self.time_us(now_us)
        if self._changed:
            self.early_us = math.inf
            for lease in self.leases.values():
                lease.look_at = lease.end_us
            self.seen_us = self.time_us(now_us)

    def _set(self, lease: Held, ttl_us: int, time_us: int) -> None:
        lease.ttl_us, lease.end_us = ttl_us, time_us + ttl_us
        lease.look_at = lease.end_us
        self.until_us = max(self.until_us, lease.end_us + max(ttl_us, KEEP_US))

    def _add(self, token: str, asked: Waiting, ttl_us: int, claimed: bool, now_us: int) -> None:
        self.fence, self._changed = max(self.fence + 1, now_us), True
        self.leases[token] = Held(asked.weight, self.fence, ttl_us, 0, claimed, asked.mailbox, 0)
        self._set(self.leases[token], ttl_us, self.time_us(now_us))

    def _sweep(self, owner: str, time_us: int) -> None:
        for token, lease in list(self.leases.items()):
            if lease.end_us > time_us:
                lease.look_at = lease.end_us if lease.look_at <= time_us else lease.look_at
                continue
            del self.leases[token]
            self._changed = True
            if not lease.claimed and lease.mailbox and token != owner:
                self.condemned.add(lease.mailbox)

    def _is_there(self, token: str, waiter: Waiting, reached: Reached, time_us: int) -> bool:
        if not waiter.mailbox:
            return True
        if waiter.alive_until - BOX_ALIVE_US + ASK_US > time_us:
            return waiter.mailbox not in self.condemned
        return reached(waiter.mailbox, f"{token} 1000")

    def _is_full(self, owner: str, max_queued: float, time_us: int) -> bool:
        if owner in self.queue or len(self.queue) < max_queued:
            return False

        def offer(token: str, waiter: Waiting, reached: Reached) -> Answer:
            if self.boxes.get(waiter.mailbox) is not True and not self._is_there(token, waiter, reached, time_us):
                del self.queue[token]
            return "next"

        if time_us - self.full_us >= FULL_US:
            self.full_us = time_us
            self.walk(owner, time_us, offer, again=True)
        return len(self.queue) >= max_queued

    def _hand_over(self, me: str, now_us: int, take: Callable[[], bool] | None = None) -> bool:
        granted, is_open, time_us = 0, True, self.time_us(now_us)

        def offer(token: str, waiter: Waiting, reached: Reached) -> Answer:
            nonlocal granted, is_open
            mine = take is not None and token == me
            if not (take() if mine and take is not None else self.sum + waiter.weight <= waiter.limit):
                if not mine and not self._is_there(token, waiter, reached, time_us):
                    return "next"
                is_open = False
                return "tell" if granted else "stop"
            if mine or (waiter.mailbox and not reached(waiter.mailbox, f"{token} grant")):
                return "next"
            del self.queue[token]
            self._add(token, waiter, CLAIM_US, False, now_us)
            granted += 1
            is_open = granted < MOST_GRANTS
            return "next" if is_open else "tell"

        self.walk(me, time_us, offer)
        return is_open
