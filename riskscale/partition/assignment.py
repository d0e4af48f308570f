"""A partition that a replica owns, and what its user is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riskscale.partition.member import Member


class Assignment:
    """A partition that this replica owns.

    Attributes:
        partition: its number.
        epoch: higher than that of every owner before. Send it along with every guarded write.
    """

    __slots__ = ("_is_over", "_member", "_was_told", "epoch", "partition")

    def __init__(self, member: Member, partition: int, epoch: int) -> None:
        self.partition, self.epoch = partition, epoch
        self._member = member
        self._is_over = self._was_told = False

    def remaining(self) -> float:
        """Seconds for which this process may count on it, unless it is renewed; 0: it is somebody else's, or may be."""
        return 0.0 if self._is_over else max(0.0, self._member.deadline - self._member.monotonic())

    @property
    def lost(self) -> bool:
        """Whether it is over: given back, or lost before that."""
        return self.remaining() == 0.0

    def __repr__(self) -> str:
        return f"<Assignment of partition {self.partition} epoch={self.epoch} remaining={self.remaining():.3f}>"


@dataclass(frozen=True, slots=True)
class News:
    """Partitions to tell the user of: assigned, or revoked."""

    assigned: bool
    items: Sequence[Assignment]

    def to_tell(self) -> list[Assignment]:
        """Those of them that still matter, from now on told: nobody hears of what was over before it was heard of."""
        told = [each for each in self.items if (not each._is_over if self.assigned else each._was_told)]
        for each in told:
            each._was_told = True
        return told
