"""Who owns which partition, as a router knows it. No I/O."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from riskscale._core.call import Call
from riskscale.partition.calls import Change, GroupCalls, GroupInfo


class Route(NamedTuple):
    """Where a tenant's work belongs.

    Attributes:
        partition: the tenant's.
        owner: the member that owns it; None: nobody at this moment.
        address: where that is reached, as it said when it joined; "" where there is no owner.
        epoch: under which it owns it; 0 likewise. Send it along: an owner of an older epoch refuses.
    """

    partition: int
    owner: str | None
    address: str
    epoch: int


class Table:
    """Follows the changes that it hears of, and is read again every so often, and where it missed one."""

    def __init__(self, calls: GroupCalls, refresh: float, monotonic: Callable[[], float]) -> None:
        self.token = calls.token
        self.wake: Callable[[], None] = lambda: None
        """Called when there is something to do at once."""
        self.version = 0
        self._calls, self._refresh, self._monotonic = calls, refresh, monotonic
        self._routes: dict[int, Route] = {}
        self._inbox: deque[str] = deque()
        self._read_at = -math.inf
        self._asked = 0
        self._next = 0.0

    def route(self, partition: int) -> Route:
        """As far as it is known."""
        return self._routes.get(partition) or Route(partition, None, "", 0)

    @property
    def age(self) -> float:
        """Seconds since the server last confirmed all of it; infinite before the first time."""
        return self._monotonic() - self._read_at

    def put(self, message: str) -> None:
        """From the mailbox: a change, or '' to look. No more than noted: the mailbox is locked meanwhile."""
        self._inbox.append(message)
        self.wake()

    def look(self) -> None:
        """At what the mailbox left."""
        while self._inbox:
            try:
                self._heard(Change.of(self._inbox.popleft()))
            except ValueError:  # '', or of a release that says it differently
                self._next = 0.0

    def pause(self) -> float:
        """Seconds until it is to be read again."""
        return max(0.0, self._next - self._monotonic())

    def read(self) -> Call[GroupInfo]:
        """The call that does; followed by :meth:`found`, or by nothing."""
        self._next = self._monotonic() + self._refresh
        self._asked = self.version
        return self._calls.read(self.version)

    def found(self, info: GroupInfo, sent: float) -> None:
        """The reply to it; whatever it says holds, also of a server that has forgotten, unless a change overtook it."""
        self._read_at = max(self._read_at, sent)
        if self.version not in (self._asked, info.version) and info.version < self.version:
            self._next = 0.0
            return
        if info.members is None:
            return
        self.version = info.version
        self._routes = {
            partition: Route(partition, member.name, member.address, epoch)
            for member in info.members
            for partition, epoch in member.owned.items()
        }

    def _heard(self, change: Change) -> None:
        if change.version <= self.version:
            return
        if change.before != self.version:  # one was missed
            self._next = 0.0
            return
        self.version = change.version
        for partition in change.freed:
            self._routes.pop(partition, None)
        for partition, epoch in change.taken:
            self._routes[partition] = Route(partition, change.member, change.address, epoch)
