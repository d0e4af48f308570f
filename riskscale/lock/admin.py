"""For those who operate locks: which there are, by their keys. Pure, as :mod:`riskscale.lock.calls`."""

from __future__ import annotations

from typing import Literal, NamedTuple

from riskscale._core.keys import base_key, parts_of
from riskscale._core.mailbox import LOST, channel
from riskscale.lock.calls import LockKeys

Role = Literal["lock", "election"]
ROLES: tuple[Role, ...] = ("lock", "election")


class LockName(NamedTuple):
    """What its users call a lock, or an election, which is one."""

    name: str
    tag: str | None = None
    role: Role = "lock"

    def keys(self, root: str) -> LockKeys:
        """Its keys in the hub with that root."""
        return LockKeys.of(base_key(root, self.name, self.tag), self.role)


def patterns(root: str) -> list[str]:
    """For SCAN MATCH: every lock of the hub with that root, which no character of a glob can be in."""
    return [f"{root}:{{*:{role}" for role in ROLES]


def lock_name(root: str, key: bytes | str) -> LockName | None:
    """Of which lock ``key`` is the hash, by its name; None where it is another's, however like one it looks."""
    found = parts_of(root, key)
    if found is None:
        return None
    name, tag, role = found
    return next((LockName(name, tag, each) for each in ROLES if role == each), None)


def lost_channel(root: str) -> str:
    """The channel on which hubs with that root hear that a lease was taken; '' where its name would be too long."""
    return channel(root, LOST)
