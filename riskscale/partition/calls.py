"""The script calls of a group of partitions, and what its channel says: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from riskscale._core.call import Arg, Call, text
from riskscale._core.durations import MICRO

MOST = 4096
"""Partitions of one group; and members."""
Owned = tuple[int, int]
"""A partition, and the epoch under which it is owned."""


class Beat(NamedTuple):
    """The reply to a beat; ``owned`` is None where it is as the caller knows it."""

    at_us: int
    joined: bool
    version: int
    changed: int
    shares: int
    staying: int
    idle: int
    share: int
    held: int
    owned: dict[int, int] | None

    @classmethod
    def of(cls, reply: Sequence[Any], seen: int) -> Beat:
        """From the reply to one who has seen so much."""
        at_us, joined, version, changed, shares, staying, idle, share, held, *items = map(int, reply)
        owned = None if changed == seen else dict(zip(items[0::2], items[1::2], strict=True))
        return cls(at_us, joined == 1, version, changed, shares, staying, idle, share, held, owned)


class Change(NamedTuple):
    """What the channel says: a change from version ``before`` on."""

    version: int
    before: int
    shares: int
    staying: int
    idle: int
    member: str
    freed: list[int]
    taken: list[Owned]
    address: str

    @classmethod
    def of(cls, message: str) -> Change:
        """From a message after its token; ValueError where it is no change."""
        *numbers, member, freed, taken, address = message.split(" ", 8)
        version, before, shares, staying, idle = map(int, numbers)
        free = [] if freed == "-" else [int(number) for number in freed.split(",")]
        return cls(version, before, shares, staying, idle, member, free, _owned(taken, ","), address)


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """One member, as the server sees it.

    Attributes:
        name: as the server knows it, a new one each time that a replica joins.
        address: as it was given.
        stays: whether it takes partitions; otherwise it is about to leave.
        remaining: seconds left of its lease; 0: it has ended, and the next beat of another gives all back.
        share: how many partitions it should own.
        owned: what it owns: the epoch of each partition.
    """

    name: str
    address: str
    stays: bool
    remaining: float
    share: int
    owned: dict[int, int]


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group, as the server sees it.

    Attributes:
        at: when it was read: seconds since 1970 by the clock of the hub (None: the server's).
        version: rises with every change of who owns what and who is there; 0: there is no such group.
        num_partitions: how many there are; 0 likewise.
        idle: how many of them nobody owns.
        members: those who are there, in the order of joining; None where the version is what the reader had seen.
    """

    at: float
    version: int
    num_partitions: int
    idle: int
    members: list[MemberInfo] | None


@dataclass(frozen=True, slots=True)
class GroupCalls:
    """Of one group; ``channel`` is where its changes are told, '' nowhere."""

    key: bytes
    channel: str

    @classmethod
    def of(cls, base: str, channel: str) -> GroupCalls:
        """From the part of the key before its role."""
        return cls(f"{base}:partitions".encode(), channel)

    @property
    def token(self) -> str:
        """By which messages find those who listen."""
        return self.key.decode()

    def beat(self, member: str, stays: bool, partitions: int, ttl_us: int, seen: int, address: str) -> Call[Beat]:
        """Join or stay, and take what is free."""
        args = (member, int(stays), partitions, ttl_us, seen, address, self.channel)
        return Call("partition.beat", (self.key,), args, lambda reply: Beat.of(reply, seen))

    def release(self, member: str, owned: Sequence[Owned]) -> Call[list[bool]]:
        """Give back up to ``MOST`` partitions; which of them were owned until now."""
        args: tuple[Arg, ...] = (member, self.channel, *(word for each in owned for word in each))
        return Call("partition.release", (self.key,), args, lambda reply: [int(word) == 1 for word in reply[1:]])

    def leave(self, member: str) -> Call[bool]:
        """Give back everything; whether the member was there."""
        return Call("partition.leave", (self.key,), (member, self.channel), lambda reply: int(reply[1]) == 1)

    def read(self, seen: int) -> Call[GroupInfo]:
        """Look, without changing anything."""
        return Call("partition.read", (self.key,), (seen,), lambda reply: _info(reply, seen))


def _info(reply: Sequence[Any], seen: int) -> GroupInfo:
    at_us, version, partitions, idle, *words = reply
    members = None if version == seen and version else [_member(*words[i : i + 6]) for i in range(0, len(words), 6)]
    return GroupInfo(at_us / MICRO, version, partitions, idle, members)


def _member(name: Any, address: Any, stays: int, left_us: int, share: int, owned: Any) -> MemberInfo:
    return MemberInfo(text(name), text(address), stays == 1, left_us / MICRO, share, dict(_owned(text(owned), " ")))


def _owned(words: str, separator: str) -> list[Owned]:
    pairs = [each.split(":") for each in words.split(separator) if each and each != "-"]
    return [(int(partition), int(epoch)) for partition, epoch in pairs]
