"""The script calls of idempotency: pure functions, no I/O."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from riskscale._core.call import Call, text
from riskscale._core.durations import MICRO
from riskscale._core.keys import name_part, tag_part

NEW, IN_PROGRESS, REPLAY, MISMATCH = 1, 0, 2, 3
OUTCOMES = {NEW: "new", IN_PROGRESS: "in_progress", REPLAY: "replay", MISMATCH: "mismatch"}

Left = Literal["nothing", "unknown"]
Place = Literal["here", "base64", "elsewhere", "nowhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The work was done before.

    Attributes:
        response: its result; None where it was too large to be kept, or is gone from the store it was kept in.
        expires_in: seconds for which the key is known yet; after them the work would be done again.
    """

    response: bytes | None = field(repr=False)
    expires_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InProgress:
    """Somebody does the work now.

    Attributes:
        remaining: seconds for which that one may be silent yet; then the next caller takes over.
    """

    remaining: float


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key was used for another request."""


class Kept(NamedTuple):
    """Where a result is, and what is kept of it in the record."""

    place: Place
    response: bytes


NOWHERE = Kept("nowhere", b"")


@dataclass(slots=True)
class Begun:
    """What ``idempotency.begin`` replied."""

    outcome: int
    fence: int
    remaining: float
    unknown: int
    expires_in: float
    at: float
    place: str
    response: Any = field(repr=False)

    @classmethod
    def of(cls, reply: Sequence[Any]) -> Begun:
        """From the reply."""
        outcome, fence, lease_us, unknown, expires_us, at_us, place, response = reply
        times = lease_us / MICRO, unknown, expires_us / MICRO, at_us / MICRO
        return cls(outcome, fence, *times, text(place), response)

    @property
    def data(self) -> bytes:
        """The response, whether or not the client decodes."""
        data: bytes = self.response if isinstance(self.response, bytes) else self.response.encode()
        return base64.b64decode(data) if self.place == "base64" else data


def record_key(root: str, name: str, tenant: str, key: str) -> bytes:
    """One record, in the cluster slot of its own key: a tenant's keys are all over the cluster."""
    return f"{root}:{tag_part(key, 'key')}:idempotency:{name_part(name)}:{name_part(tenant, 'tenant')}".encode()


def kept_here(data: bytes) -> Kept:
    """A result in the record itself: as it is where it is text, since clients that decode choke on what is not."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return Kept("base64", base64.b64encode(data))
    return Kept("here", data)


def begin(key: bytes, token: str, fingerprint: str, lease_us: int, keep_us: int, mailbox: str) -> Call[Begun]:
    """Begin an attempt, or learn what came of another."""
    return Call("idempotency.begin", (key,), (token, fingerprint, lease_us, keep_us, mailbox), Begun.of)


def complete(key: bytes, token: str, fingerprint: str, keep_us: int, kept: Kept) -> Call[tuple[bool, float]]:
    """Keep the result; whether it is what everybody gets, and when that was decided."""
    return Call("idempotency.complete", (key,), (token, fingerprint, keep_us, *kept), _told)


def abandon(key: bytes, token: str, left: Left) -> Call[tuple[bool, float]]:
    """End without one; False where another attempt has taken over, and when that was decided."""
    return Call("idempotency.abandon", (key,), (token, left), _told)


def _told(reply: Sequence[Any]) -> tuple[bool, float]:
    return reply[0] == 1, reply[1] / MICRO
