"""One attempt at the work of a key: what leases need to know of it, and its flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from riskscale._core.call import Call, Cleanup, Finish, Flow
from riskscale.errors import LeaseLost
from riskscale.idempotency import calls
from riskscale.idempotency.calls import IN_PROGRESS, MISMATCH, NEW, REPLAY, Begun, Kept, Left
from riskscale.lease.flows import TRY_ONCE, Monotonic, Replicas, take
from riskscale.lease.grant import Grant, Seen

C = TypeVar("C")
POLL = 0.5
LOOK = 2.0
"""Seconds between the looks of those who cannot be told, and of those who can: one of very many is not."""
MARGIN = 0.001
NOT_YET = Begun(IN_PROGRESS, 0, 0.0, 0, 0.0, 0.0, "", b"")


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """See :class:`riskscale.lease.grant.Spec`. ``left`` is what an abandon would say of it."""

    name: str
    key: bytes
    fingerprint: str = field(repr=False)
    ttl_us: int
    keep_us: int
    left: Left = "nothing"
    done: bool = False
    begun: Begun = field(default_factory=lambda: NOT_YET)
    races: bool = False
    kind: str = "idempotency"
    renew_script: str = "idempotency.heartbeat"

    def acquire(self, grant: Grant, mailbox: str) -> Call[Seen]:
        """``idempotency.begin``; what the reply says of others stays in ``begun``."""
        box = "" if mailbox == TRY_ONCE else mailbox
        call = calls.begin(self.key, grant.token, self.fingerprint, self.ttl_us, self.keep_us, box)

        def seen(reply: object) -> Seen:
            self.begun = begun = call.decode(reply)  # type: ignore[arg-type]
            over = begun.outcome in (REPLAY, MISMATCH)
            pause = min(begun.remaining + MARGIN, LOOK if box else POLL)
            return Seen(begun.outcome == NEW, begun.fence, pause, -1, begun.at, full=over)

        return Call(call.script, call.keys, call.args, seen)

    def release(self, grant: Grant) -> Call[tuple[bool, float]]:
        """``idempotency.abandon``."""
        return calls.abandon(self.key, grant.token, self.left)

    def complete(self, grant: Grant, kept: Kept) -> Call[tuple[bool, float]]:
        """``idempotency.complete``."""
        return calls.complete(self.key, grant.token, self.fingerprint, self.keep_us, kept)


def begin(
    attempt: Attempt,
    grant: Grant,
    timeout: float | None,
    monotonic: Monotonic,
    claim: Callable[[], C],
    replicas: Replicas | None,
) -> Flow[C | Begun]:
    """Begin, or wait up to ``timeout`` seconds for who does the work; what is seen then. See ``take`` for the ends."""
    if (yield from take(grant, timeout, monotonic, replicas)):
        return claim()
    return attempt.begun


def complete(attempt: Attempt, grant: Grant, kept: Kept) -> Flow[None]:
    """Keep the result. LeaseLost where another attempt took over; an error leaves it to be called again.

    Where the outcome is unknown it is said once more, which is safe: done work that nobody knows of is done again.
    """
    if attempt.done:
        return
    if grant.released_at is not None:
        raise LeaseLost(attempt.name, grant.fence, attempt.kind)
    call = attempt.complete(grant, kept)
    try:
        told = yield Finish(call, last=True)
    except GeneratorExit:
        raise
    except BaseException as error:
        told = yield Cleanup(call)
        if told is not None:
            _settle(attempt, grant, *told)
        if told is None or not isinstance(error, Exception):
            raise
    else:
        _settle(attempt, grant, *told)
    if not attempt.done:
        raise LeaseLost(attempt.name, grant.fence, attempt.kind)


def _settle(attempt: Attempt, grant: Grant, stored: bool, at: float) -> None:
    attempt.done = stored
    grant.deadline = 0.0
    grant.lost = grant.gone = not stored
    grant.released_at = at if stored else None
