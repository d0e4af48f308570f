"""The guard's script calls, and what the asyncio guard shares with the blocking one. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.call import Call
from riskscale._core.data import as_bytes
from riskscale._core.durations import MAX_TTL_US, Duration, integer, microseconds
from riskscale.errors import StaleFence


@dataclass(frozen=True, slots=True)
class GuardKeys:
    """The two keys of one guarded value, in one cluster slot."""

    value: bytes
    mark: bytes

    @classmethod
    def of(cls, base: str) -> GuardKeys:
        """From the part of the key before its role."""
        return cls(f"{base}:value".encode(), f"{base}:fence".encode())

    @property
    def all(self) -> tuple[bytes, ...]:
        """In the order of KEYS."""
        return self.value, self.mark


class BaseGuard:
    """See :class:`riskscale.Guard`."""

    def __init__(self, hub: BaseHub, name: str, tag: str | None) -> None:
        self._name = name
        self._keys = GuardKeys.of(hub.key(name, tag))

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._name

    @property
    def key(self) -> bytes:
        """The key of the value, for those who only read: GET."""
        return self._keys.value

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.Guard {self.name!r}>"

    def _write(self, value: str | bytes, fence: int, ttl: Duration | None) -> Call[None]:
        data = as_bytes(value, "value")
        integer(fence, "fence", 1)
        ttl_us = 0 if ttl is None else microseconds(ttl, "ttl", 1000, MAX_TTL_US)
        return Call("fence.guard", self._keys.all, (fence, data, ttl_us), lambda reply: self._check(reply, fence))

    def _read(self, fence: int) -> Call[bytes | None]:
        integer(fence, "fence", 1)

        def decode(reply: Sequence[Any]) -> bytes | None:
            self._check(reply, fence)
            found, value = reply[3:]
            if not found:
                return None
            return value if isinstance(value, bytes) else str(value).encode()

        return Call("fence.read", self._keys.all, (fence,), decode)

    def _check(self, reply: Sequence[Any], fence: int) -> None:
        passed, mark, *_ = reply
        if not passed:
            raise StaleFence(self.name, fence, mark)
