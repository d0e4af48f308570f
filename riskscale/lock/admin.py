"""For those who operate locks: which there are, by their keys. Pure, as :mod:`riskscale.lock.calls`."""

from __future__ import annotations

from typing import NamedTuple

from riskscale._core.keys import names_of
from riskscale._core.mailbox import LONGEST

_ROLE = ":lock"


class LockName(NamedTuple):
    """What its users call a lock."""

    name: str
    tag: str | None


def pattern(root: str) -> str:
    """For SCAN MATCH: every lock of the hub with that root, which no character of a glob can be in."""
    return f"{root}:{{*{_ROLE}"


def lock_name(root: str, key: bytes | str) -> LockName | None:
    """Of which lock ``key`` is the hash, by its name; None where it is another's, however like one it looks."""
    try:
        text = key.decode() if isinstance(key, bytes) else key
    except UnicodeDecodeError:
        return None
    found = names_of(root, text.removesuffix(_ROLE)) if text.endswith(_ROLE) else None
    return None if found is None else LockName(*found)


def lost_channel(root: str) -> str:
    """The channel on which hubs with that root hear that a lease was taken; '' where its name would be too long."""
    channel = f"{root}:lost"
    return channel if len(channel) <= LONGEST else ""
