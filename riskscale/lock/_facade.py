"""What the asyncio facades of locks share with the blocking ones: everything that does not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from riskscale._core.base import BaseHub
from riskscale._core.durations import Duration, seconds
from riskscale.errors import StateError
from riskscale.lock.flows import Grant, LockSpec


class BaseLease:
    """See :class:`riskscale.Lease`."""

    def __init__(self, hub: BaseHub, grant: Grant) -> None:
        self._grant = grant
        self._monotonic: Callable[[], float] = hub.monotonic

    @property
    def name(self) -> str:
        """The lock's name."""
        return self._grant.spec.name

    @property
    def token(self) -> str:
        """The token of this acquisition; whoever has it can release the lock."""
        return self._grant.token

    @property
    def fence(self) -> int:
        """The fencing token: higher than that of every lease before. Send it along with every guarded write."""
        return self._grant.fence

    @property
    def at(self) -> float:
        """When the lock was taken: seconds since 1970 by the clock of the hub (None: the server's)."""
        return self._grant.at

    @property
    def released_at(self) -> float | None:
        """When it was released, by the same clock; None if it was not, or was lost."""
        return self._grant.released_at

    def remaining(self) -> float:
        """Seconds for which this process may count on the lease: counted from when the request was sent."""
        return max(0.0, self._grant.deadline - self._monotonic())

    def __repr__(self) -> str:  # the token is a capability and stays out of logs
        return f"<Lease of {self.name!r} fence={self.fence} remaining={self.remaining():.3f}>"


L = TypeVar("L", bound=BaseLease)


class Entered(Generic[L]):
    """The leases of plain ``with lock:`` blocks, by the task or thread that entered."""

    def __init__(self) -> None:
        self._leases: dict[Hashable, L] = {}
        self._mutex = threading.Lock()

    def check(self, who: Hashable, name: str) -> None:
        """Refuse a second entry: it would wait for itself for ever."""
        if who in self._leases:
            raise StateError(f"lock {name!r} is already entered here; it is not re-entrant")

    def put(self, who: Hashable, lease: L) -> None:
        """Remember on entry."""
        with self._mutex:
            self._leases[who] = lease

    def pop(self, who: Hashable, name: str) -> L:
        """Forget on exit; StateError in another task or thread than the one that entered."""
        with self._mutex:
            lease = self._leases.pop(who, None)
        if lease is None:
            raise StateError(f"lock {name!r} must be left in the task or thread where it was entered")
        return lease


class BaseLock(Generic[L]):
    """See :class:`riskscale.Lock`."""

    def __init__(
        self,
        hub: BaseHub,
        name: str,
        ttl: Duration,
        wait: Duration | None,
        tag: str | None,
        metadata: str,
    ) -> None:
        self._spec = LockSpec.of(name, hub.key(name, tag), ttl, metadata)
        self._wait = None if wait is None else seconds(wait, "wait")
        self._entered: Entered[L] = Entered()

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._spec.name

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.Lock {self.name!r}>"
