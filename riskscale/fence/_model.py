"""The guard in plain Python, the tests' oracle: what decides, without Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Written(NamedTuple):
    """The reply of ``fence.guard``, without ``at_us``."""

    written: bool
    fence: int


class Read(NamedTuple):
    """The reply of ``fence.read``, without ``at_us``; no value is None."""

    accepted: bool
    fence: int
    value: bytes | None


@dataclass(slots=True)
class GuardModel:
    """One guarded value."""

    value: bytes | None = None
    mark: int = 0

    def write(self, value: bytes, fence: int) -> Written:
        """``fence.guard``."""
        if fence >= self.mark:
            self.value, self.mark = value, fence
        return Written(fence >= self.mark, self.mark)

    def read(self, fence: int) -> Read:
        """``fence.read``."""
        self.mark = max(self.mark, fence)
        accepted = fence == self.mark
        return Read(accepted, self.mark, self.value if accepted else None)
