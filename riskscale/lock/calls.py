"""The lock's script calls: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from riskscale._core.call import Call, text
from riskscale._core.durations import MICRO
from riskscale.lease.grant import Seen


@dataclass(frozen=True, slots=True)
class LockKeys:
    """The three keys of one lock, all in one cluster slot."""

    lock: bytes
    queue: bytes
    wait: bytes

    @classmethod
    def of(cls, base: str, role: str = "lock") -> LockKeys:
        """From the part of the key before its role. A role is one word: ``{a}:b:lock`` is a lock with a tag."""
        of_it = "" if role == "lock" else f"{role}-"
        return cls(*(f"{base}:{word}".encode() for word in (role, f"{of_it}queue", f"{of_it}wait")))

    @property
    def all(self) -> tuple[bytes, ...]:
        """In the order of KEYS."""
        return self.lock, self.queue, self.wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """One that waits for the lock; times in seconds."""

    token: str = field(repr=False)
    waited: float
    alive: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LockInfo:
    """What ``lock.inspect`` saw.

    Attributes:
        held: whether somebody holds the lock, or it was granted to a waiter.
        claimed: False while a grant waits for its waiter to claim it.
        fence: of the holder, or of the last one; 0 if none is known.
        remaining: seconds left of the lease.
        owner: the holder's token, "" if free.
        holds: tokens of a re-entrant owner's holds.
        metadata: what the holder gave.
        waiting: length of the queue; the dead not yet dropped from it included.
        waiters: the first of the queue.
    """

    held: bool
    claimed: bool
    fence: int
    remaining: float
    owner: str = field(repr=False)
    holds: tuple[str, ...]
    metadata: str
    waiting: int
    waiters: tuple[Waiter, ...]


@dataclass(frozen=True, slots=True)
class ForceReleased:
    """What ``lock.force_release`` replied.

    Attributes:
        released: whether it was held (with the fence that was named) until now.
        fence: the raised one, above the former holder's and below that of every later one; if not released, the last.
        told: how many subscribers heard that the holder lost it.
        at: when this was decided.
    """

    released: bool
    fence: int
    told: int
    at: float

    @classmethod
    def of(cls, reply: Sequence[Any]) -> ForceReleased:
        """From the reply."""
        released, fence, told, at_us = reply
        return cls(released == 1, fence, told, at_us / MICRO)


def acquire(keys: LockKeys, owner: str, ttl_us: int, mailbox: str, *, hold: str = "", metadata: str = "") -> Call[Seen]:
    """Take, renew or claim the lock, or queue for it."""
    return Call("lock.acquire", keys.all, (owner, ttl_us, mailbox, hold, metadata), Seen.of)


def release(keys: LockKeys, owner: str, hold: str = "") -> Call[tuple[bool, float]]:
    """Let go; whether it was held until now, and when that was."""
    return Call("lock.release", keys.all, (owner, hold), lambda reply: (reply[0] == 1, reply[2] / MICRO))


def acquire_all(
    locks: Sequence[LockKeys], owner: str, ttl_us: int, metadata: str = ""
) -> Call[tuple[bool, float, list[int]]]:
    """Take all or none: whether they were taken, when, and the fence of each."""
    keys = tuple(key for lock in locks for key in lock.all)
    return Call("lock.acquire_all", keys, (owner, ttl_us, metadata), _all_seen)


def force_release(keys: LockKeys, *, lost: str = "", fence: int = 0) -> Call[ForceReleased]:
    """Take the lock from the holder that has ``fence`` (0: from any), and say so on the channel ``lost``."""
    return Call("lock.force_release", keys.all, (lost, fence), ForceReleased.of)


def inspect(keys: LockKeys, most: int = 0) -> Call[LockInfo]:
    """Look, without changing anything."""
    return Call("lock.inspect", keys.all, (most,), _info)


def _all_seen(reply: Sequence[Any]) -> tuple[bool, float, list[int]]:
    acquired, _, at_us, *fences = reply
    return acquired == 1, at_us / MICRO, fences


def _info(reply: Sequence[Any]) -> LockInfo:
    _, held, fence, lease_us, owner, holds, metadata, waiting = reply[:8]
    items = [reply[at : at + 3] for at in range(8, len(reply), 3)]
    return LockInfo(
        held=held > 0,
        claimed=held == 1,
        fence=fence,
        remaining=lease_us / MICRO,
        owner=text(owner),
        holds=tuple(text(holds).split()),
        metadata=text(metadata),
        waiting=waiting,
        waiters=tuple(Waiter(token=text(t), waited=waited / MICRO, alive=alive / MICRO) for t, waited, alive in items),
    )
