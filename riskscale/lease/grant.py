"""One acquisition, as plain state; what a primitive must tell of itself to have leases."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from riskscale._core.call import Call
from riskscale._core.durations import MAX_TTL_US, MICRO, Duration, microseconds


@dataclass(slots=True)
class Seen:
    """What an ``acquire`` script replied."""

    acquired: bool
    fence: int
    wait: float
    rank: int
    at: float
    full: bool = False
    """There was no room in the queue for one that wanted to wait."""

    @classmethod
    def of(cls, reply: Sequence[Any]) -> Seen:
        """From the reply: acquired, fence, wait_us, rank, at_us."""
        acquired, fence, wait_us, rank, at_us = reply
        return cls(acquired == 1, fence, wait_us / MICRO, rank, at_us / MICRO)

    @classmethod
    def of_bounded(cls, reply: Sequence[Any]) -> Seen:
        """The same to one that wanted to wait, where the queue has a bound."""
        seen = cls.of(reply)
        return replace(seen, full=not seen.acquired and seen.rank < 0)


class Named(Protocol):
    """What metrics tell of it."""

    @property
    def name(self) -> str:
        """As its user calls it."""

    @property
    def kind(self) -> str:
        """What it is: a lock, a semaphore."""


class Spec(Named, Protocol):
    """What is acquired, by which calls."""

    @property
    def ttl_us(self) -> int:
        """The length of its leases."""

    @property
    def renew_script(self) -> str:
        """A script of n keys and (owner, ttl_us) for each, which replies at_us and a fence for each."""

    @property
    def key(self) -> bytes:
        """Its key for that script."""

    @property
    def races(self) -> bool:
        """Whether it does without a queue."""

    def acquire(self, grant: Grant, mailbox: str) -> Call[Seen]:
        """Take, renew, claim, or queue."""

    def release(self, grant: Grant) -> Call[tuple[bool, float]]:
        """Let go, also of a place in the queue; whether it was held until now, and when that was."""


@dataclass(slots=True, kw_only=True, eq=False)
class Grant:
    """One acquisition. ``deadline`` is on the monotonic clock and counts from when the request was sent."""

    spec: Spec
    token: str = field(repr=False)
    hold: str = field(default="", repr=False)
    ttl_us: int = 0
    fence: int = 0
    at: float = 0.0
    deadline: float = 0.0
    released_at: float | None = None
    replicas: int | None = None
    full: bool = False
    """It was refused a place in the queue, and so has none."""
    lost: bool = False
    """Its holder was told that it is over."""
    gone: bool = False
    """The server said so."""
    _pending: list[float] = field(default_factory=list, repr=False)
    _earliest: float = math.inf

    @property
    def own_token(self) -> str:
        """Its token where nobody else has it: that of a re-entrant owner is shared by its holds, so ''."""
        return "" if self.hold else self.token

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to give back."""
        return self.lost or self.released_at is not None

    def granted(self, seen: Seen, sent: float) -> None:
        """The reply to a request sent at ``sent`` gave it."""
        self.ttl_us = self.spec.ttl_us
        self.fence, self.at, self.deadline = seen.fence, seen.at, sent + self.ttl_us / MICRO

    def renewing(self, sent: float, ttl_us: int) -> float:
        """A renewal is sent: it may shorten the lease from now on, and lengthens it when it is answered."""
        until = sent + ttl_us / MICRO
        self._pending.append(until)
        self.deadline = min(self.deadline, until)
        return until

    def renewed(self, until: float, fence: int | None) -> bool:
        """The end of a renewal: None for a fence where it failed. Of several at one time the earliest end counts."""
        self._pending.remove(until)
        self._earliest = min(self._earliest, until)
        if fence == self.fence and not self.settled:
            self.deadline = min(self._earliest, *self._pending, math.inf)
        elif fence is not None:
            self.lost = self.gone = self.released_at is None
        if not self._pending:
            self._earliest = math.inf
        return not self.lost


def renewal(script: str, items: Sequence[tuple[bytes, str, int]]) -> Call[list[int]]:
    """Renew leases, each a (key, token, ttl_us): their fences, 0 or less for what is lost."""
    words = [word for _, token, ttl_us in items for word in (token, ttl_us)]
    return Call(script, tuple(key for key, _, _ in items), tuple(words), _fences)


def _fences(reply: Sequence[Any]) -> list[int]:
    return [int(fence) for fence in reply[1:]]


def lease_us(ttl: Duration) -> int:
    """A lease length in microseconds: 1 ms to 366 days."""
    return microseconds(ttl, "ttl", 1000, MAX_TTL_US)


def new_token() -> str:
    """One per acquisition, never per task or thread; it cannot be guessed."""
    return secrets.token_hex(12)
