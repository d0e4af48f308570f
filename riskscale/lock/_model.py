"""The lock in plain Python: the oracle of the tests, and the in-memory backend. The same steps as ``lua/lock``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from riskscale.lease._queue_model import CLAIM_US, KEEP_US, Answer, QueueModel, Reached, Waiting


class Acquired(NamedTuple):
    """The reply of ``lock.acquire``, without ``at_us``."""

    acquired: bool
    fence: int
    wait_us: int
    rank: int


class Released(NamedTuple):
    """The reply of ``lock.release``, without ``at_us``."""

    released: bool
    holds: int


class ForceReleased(NamedTuple):
    """The reply of ``lock.force_release``, without ``at_us``."""

    released: bool
    fence: int
    told: int


@dataclass(slots=True)
class LockModel(QueueModel):
    """One lock."""

    owner: str = ""
    fence: int = 0
    end_us: int = 0
    ttl_us: int = 0
    claimed: bool = False
    previous: str = ""
    holds: list[str] = field(default_factory=list)
    racers: dict[str, str] = field(default_factory=dict)

    def is_live(self, now_us: int) -> bool:
        """Whether somebody holds it now."""
        return self.owner != "" and self.end_us > now_us

    @property
    def expires_us(self) -> int:
        """When nothing of it matters any more, the fence included."""
        return self.end_us + max(self.ttl_us, KEEP_US)

    def acquire(self, owner: str, ttl_us: int, mailbox: str, now_us: int, hold: str = "") -> Acquired:
        """``lock.acquire``."""
        self._re_anchor(now_us)
        waits, races = not mailbox.startswith("-"), mailbox.startswith("-") and mailbox != "-"
        mailbox = mailbox.removeprefix("-")
        self.condemned.discard(mailbox)
        held = self.acquire_now(owner, ttl_us, now_us, hold)
        if held is not None:
            if races:
                self.racers.pop(owner, None)
            return held
        if races:
            self.racers[owner] = mailbox
        if not waits:
            return Acquired(False, self.fence, max(self.end_us - now_us, 1000), -1)
        wait_us, rank = self.join(owner, mailbox, now_us, self.end_us - now_us)
        return Acquired(False, self.fence, wait_us, rank)

    def acquire_now(self, owner: str, ttl_us: int, now_us: int, hold: str) -> Acquired | None:
        """What ``lock.acquire`` gives without waiting."""
        if self.owner == owner and self.is_live(now_us):
            return self._hold(owner, ttl_us, hold, now_us)
        if not self.is_live(now_us):
            if self.owner and not self.claimed:
                silent = self.queue.pop(self.owner, None)
                if silent is not None and silent.mailbox and self.owner != owner:
                    self.condemned.add(silent.mailbox)
            winner = self._hand_over(owner, now_us)
            if winner in (None, owner):
                self.queue.pop(owner, None)
                self._grant(owner, ttl_us, True, now_us)
                return self._hold(owner, ttl_us, hold, now_us)
        return None

    def can_be_had(self, owner: str, now_us: int) -> bool:
        """Whether ``lock.acquire_all`` would take it."""
        if self.is_live(now_us):
            return self.owner == owner
        return not any(waiter.alive_until > now_us for token, waiter in self.queue.items() if token != owner)

    def take(self, owner: str, ttl_us: int, now_us: int) -> None:
        """What ``lock.acquire_all`` does to each of its locks."""
        if not (self.is_live(now_us) and self.owner == owner):
            self.queue.pop(owner, None)
            self._grant(owner, ttl_us, True, now_us)
        self.claimed, self.ttl_us, self.end_us = True, ttl_us, now_us + ttl_us

    def release(self, owner: str, now_us: int, hold: str = "") -> Released:
        """``lock.release``."""
        self._re_anchor(now_us)
        named = hold or owner
        if self.owner != owner:
            self.queue.pop(owner, None)
            if self.racers.pop(owner, None) is None and not self.is_live(now_us):
                self._wake_racer()
            return Released(self.previous == named, 0)
        held = self.is_live(now_us) and self.claimed
        if hold:
            rest = [each for each in self.holds if each != hold]
            had = hold in self.holds
            if not had and self.claimed:
                return Released(self.previous == hold, len(rest))
            if rest and held:
                self.holds, self.previous = rest, hold
                return Released(True, len(rest))
            held = held and had
        self.queue.pop(owner, None)
        self.owner, self.end_us, self.claimed, self.holds = "", 0, False, []
        self.previous = named if held else ""
        if self._hand_over("", now_us) is None:
            self._wake_racer()
        return Released(held, 0)

    def force_release(self, lost: str, fence: int, now_us: int) -> ForceReleased:
        """``lock.force_release``."""
        self._re_anchor(now_us)
        if not self.is_live(now_us) or fence not in (0, self.fence):
            return ForceReleased(False, self.fence, 0)
        holder, raised = self.owner, max(self.fence + 1, now_us)
        self.queue.pop(holder, None)
        self.owner, self.end_us, self.claimed, self.holds = "", 0, False, []
        self.previous, self.fence = "", raised
        told = int(lost != "" and self.publish(lost, f"{holder} lost"))
        if self._hand_over("", now_us) is None:
            self._wake_racer()
        return ForceReleased(True, raised, told)

    def renew(self, owner: str, ttl_us: int, now_us: int) -> int:
        """``lock.renew`` of one lease: its fence, or 0."""
        if self.owner != owner or not self.claimed or self.end_us <= now_us:
            return 0
        self.end_us = max(now_us + ttl_us, self.end_us if len(self.holds) > 1 else 0)
        self.ttl_us = self.end_us - now_us
        return self.fence

    def _re_anchor(self, now_us: int) -> None:
        if self.owner and self.end_us > now_us + self.ttl_us:
            self.end_us = now_us + self.ttl_us

    def _grant(self, owner: str, ttl_us: int, claimed: bool, now_us: int) -> None:
        self.owner, self.ttl_us, self.claimed, self.holds = owner, ttl_us, claimed, []
        self.fence = max(self.fence + 1, now_us)
        self.end_us = now_us + ttl_us

    def _hold(self, owner: str, ttl_us: int, hold: str, now_us: int) -> Acquired:
        if not self.claimed:
            self.queue.pop(owner, None)
        shared = self.holds and self.holds != [hold]
        self.end_us = max(now_us + ttl_us, self.end_us if shared else 0)
        self.claimed, self.ttl_us = True, self.end_us - now_us
        if hold and hold not in self.holds:
            self.holds.append(hold)
        return Acquired(True, self.fence, 0, -1)

    def _wake_racer(self) -> None:
        while self.racers:
            token = next(iter(self.racers))
            if self.publish(self.racers.pop(token), f"{token} free"):
                return

    def _hand_over(self, me: str, now_us: int) -> str | None:
        winner: str | None = None

        def offer(token: str, waiter: Waiting, reached: Reached) -> Answer:
            nonlocal winner
            if token != me and waiter.mailbox and not reached(waiter.mailbox, f"{token} grant"):
                return "next"
            winner = token
            if token == me:
                return "stop"
            self._grant(token, CLAIM_US, False, now_us)
            return "tell"

        self.walk(me, now_us, offer)
        return winner
