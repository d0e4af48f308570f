"""The semaphore's script calls: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from riskscale._core.call import Call, text
from riskscale._core.durations import MICRO
from riskscale.lease.flows import TRY_ONCE
from riskscale.lease.grant import Seen


@dataclass(frozen=True, slots=True)
class SemaphoreKeys:
    """The four keys of one semaphore, all in one cluster slot."""

    semaphore: bytes
    leases: bytes
    queue: bytes
    wait: bytes

    @classmethod
    def of(cls, base: str, role: str = "semaphore") -> SemaphoreKeys:
        """From the part of the key before its role."""
        return cls(*(f"{base}:{role}{part}".encode() for part in ("", "-leases", "-queue", "-wait")))

    @property
    def all(self) -> tuple[bytes, ...]:
        """In the order of KEYS."""
        return self.semaphore, self.leases, self.queue, self.wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one holds, or waits for; times in seconds.

    Attributes:
        token: of its acquisition.
        weight: how much.
        fence: of its lease; 0 for a waiter.
        claimed: False while a grant waits for its waiter to claim it.
        remaining: what is left of the lease; of a waiter: until it is taken for dead.
        waited: since it joined the queue; 0 for a lease.
        metadata: what the holder gave.
    """

    token: str = field(repr=False)
    weight: int
    fence: int
    claimed: bool
    remaining: float
    waited: float
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SemaphoreInfo:
    """What ``semaphore.inspect`` saw.

    Attributes:
        held: how many leases there are.
        sum: their weights together.
        fence: the last one given; 0 if none is known.
        waiting: length of the queue; the dead not yet dropped from it included.
        holders: of the leases, the first to end first.
        waiters: the first of the queue.
    """

    held: int
    sum: int
    fence: int
    waiting: int
    holders: tuple[Share, ...]
    waiters: tuple[Share, ...]


def acquire(
    keys: SemaphoreKeys,
    owner: str,
    ttl_us: int,
    mailbox: str,
    *,
    weight: int,
    limit: int,
    max_queued: int | None = None,
    metadata: str = "",
) -> Call[Seen]:
    """Take, renew or claim a share, or queue for it, where fewer than ``max_queued`` wait (None: however many)."""
    bound = "" if max_queued is None else max_queued
    decode = Seen.of if max_queued is None or mailbox == TRY_ONCE else Seen.of_bounded
    return Call("semaphore.acquire", keys.all, (owner, ttl_us, mailbox, weight, limit, bound, metadata), decode)


def release(keys: SemaphoreKeys, owner: str) -> Call[tuple[bool, float]]:
    """Let go; whether it was held until now, and when that was."""
    return Call("semaphore.release", keys.all, (owner,), lambda reply: (reply[0] == 1, reply[2] / MICRO))


def inspect(keys: SemaphoreKeys, most: int = 0) -> Call[SemaphoreInfo]:
    """Look, without changing anything."""
    return Call("semaphore.inspect", keys.all, (most,), _info)


def _info(reply: Sequence[Any]) -> SemaphoreInfo:
    _, held, weights, fence, waiting = reply[:5]
    items = [reply[at : at + 7] for at in range(5, len(reply), 7)]
    return SemaphoreInfo(
        held=held,
        sum=weights,
        fence=fence,
        waiting=waiting,
        holders=tuple(_share(item) for item in items if item[0]),
        waiters=tuple(_share(item) for item in items if not item[0]),
    )


def _share(item: Sequence[Any]) -> Share:
    state, token, weight, fence, left_us, waited_us, metadata = item
    return Share(
        token=text(token),
        weight=weight,
        fence=fence,
        claimed=state == 1,
        remaining=left_us / MICRO,
        waited=waited_us / MICRO,
        metadata=text(metadata),
    )
