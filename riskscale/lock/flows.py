"""The lock's logic, once for asyncio and threads: flows (see :mod:`riskscale._core.call`) over plain state."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from riskscale._core.base import GRACE
from riskscale._core.call import Cleanup, Finish, Flow, Listen, Wait
from riskscale._core.durations import MAX_TTL_US, MICRO, Duration, microseconds
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError, LeaseLost
from riskscale.lock import calls

L = TypeVar("L")
Monotonic = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSpec:
    """What a Lock was made with."""

    name: str
    keys: calls.LockKeys
    ttl_us: int
    metadata: str = ""

    @classmethod
    def of(cls, name: str, base: str, ttl: Duration, metadata: str) -> LockSpec:
        """Check the arguments of a Lock."""
        if metadata != "" and len(check_name(metadata, "metadata").encode()) > 1024:
            raise ArgumentError("metadata", "must be text of at most 1024 bytes in UTF-8")
        return cls(name=name, keys=calls.LockKeys.of(base), ttl_us=lease_us(ttl), metadata=metadata)


@dataclass(slots=True, kw_only=True)
class Grant:
    """One acquisition. ``deadline`` is on the monotonic clock and counts from when the request was sent."""

    spec: LockSpec
    token: str = field(repr=False)
    fence: int = 0
    at: float = 0.0
    deadline: float = 0.0
    released_at: float | None = None
    lost: bool = False

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to give back."""
        return self.lost or self.released_at is not None


def lease_us(ttl: Duration) -> int:
    """A lease length in microseconds: 1 ms to 366 days."""
    return microseconds(ttl, "ttl", 1000, MAX_TTL_US)


def new_token() -> str:
    """One per acquisition, never per task or thread; it cannot be guessed."""
    return secrets.token_hex(12)


def acquire(spec: LockSpec, timeout: float | None, monotonic: Monotonic, lease: Callable[[Grant], L]) -> Flow[L | None]:
    """Try once (``timeout`` 0), or wait for so many seconds, or for ever (None).

    What is granted becomes a ``lease`` before the flow ends: a hub that closes meanwhile then knows of it.
    Who waits is told of its grant through the mailbox; where there is none (yet), it polls.

    However it ends, the lock is held and known, or given back: an outcome that stays unknown (an error, a
    cancellation) is followed by a release, and should that not get through either, the lease ends by itself.
    """
    grant = Grant(spec=spec, token=new_token())
    give_up = None if timeout is None else monotonic() + timeout
    try:
        while True:
            mailbox = calls.TRY_ONCE if timeout == 0 else (yield Listen(grant.token))
            sent = monotonic()
            budget = None if give_up is None or timeout == 0 else max(give_up - sent, GRACE)
            call = calls.acquire(spec.keys, grant.token, spec.ttl_us, mailbox, metadata=spec.metadata)
            seen = yield Finish(call, budget)
            if seen.acquired:
                grant.fence, grant.at, grant.deadline = seen.fence, seen.at, sent + spec.ttl_us / MICRO
                if (yield from _in_time(grant, budget, monotonic)):
                    return lease(grant)
                if timeout is None:
                    raise LeaseLost(spec.name, seen.fence)
            if timeout == 0 or not (yield from _told_to_look(seen.wait, give_up, monotonic)):
                break
    except GeneratorExit:
        raise
    except BaseException:
        yield Cleanup(calls.release(spec.keys, grant.token))
        raise
    if mailbox != calls.TRY_ONCE or seen.acquired:  # leave the queue; a grant that came meanwhile goes to the next
        yield Cleanup(calls.release(spec.keys, grant.token))
    return None


def _told_to_look(pause: float, give_up: float | None, monotonic: Monotonic) -> Flow[bool]:
    """Wait until it is time to ask again; False where the time to give up came before."""
    while pause > 0:
        left = pause if give_up is None else min(pause, give_up - monotonic())
        if left <= 0:
            return False
        message = yield Wait(left)
        pause = int(message) / MICRO if message.isdecimal() else 0.0  # or stand by until another's claim is over
    return True


def _in_time(grant: Grant, budget: float | None, monotonic: Monotonic) -> Flow[bool]:
    """Whether something is left of the lease: where the reply came too late, renew once."""
    if monotonic() < grant.deadline:
        return True
    sent = monotonic()
    ttl_us = grant.spec.ttl_us
    fence = yield Finish(calls.renew(grant.spec.keys, grant.token, ttl_us), budget)
    grant.deadline = sent + ttl_us / MICRO
    return fence == grant.fence and monotonic() < grant.deadline


def renew(grant: Grant, ttl: Duration | None, monotonic: Monotonic) -> Flow[None]:
    """Lengthen the lease from now; LeaseLost where it has ended, and nothing is changed then."""
    ttl_us = grant.spec.ttl_us if ttl is None else lease_us(ttl)
    if grant.settled:
        raise LeaseLost(grant.spec.name, grant.fence)
    sent = monotonic()
    fence = yield Finish(calls.renew(grant.spec.keys, grant.token, ttl_us))
    if fence != grant.fence:
        grant.lost, grant.deadline = True, sent
        raise LeaseLost(grant.spec.name, grant.fence)
    grant.deadline = sent + ttl_us / MICRO


def release(grant: Grant) -> Flow[None]:
    """Let go. Again after that: nothing. LeaseLost where it was lost; an error of the client leaves it releasable."""
    if grant.released_at is not None:
        return
    if grant.lost:
        raise LeaseLost(grant.spec.name, grant.fence)
    held, at = yield Finish(calls.release(grant.spec.keys, grant.token), last=True)
    grant.deadline = 0.0
    if not held:
        grant.lost = True
        raise LeaseLost(grant.spec.name, grant.fence)
    grant.released_at = at
