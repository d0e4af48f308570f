"""One replica in a group: what it owns, what it is to send, and whom to tell. No I/O.

What it owns ends with its lease, which counts from when the beat that renewed it was *sent*. A beat that brings more or
less than before, and time itself, make news: partitions assigned, or revoked. One that is revoked is drained, and given
back when that is done, or its time is over; one that is lost is over at once.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from riskscale._core.call import Call
from riskscale._core.durations import MICRO
from riskscale._core.nodes import new_node
from riskscale.errors import WrongOwner
from riskscale.lease.book import LONGEST_MARGIN, RETRY
from riskscale.partition.assignment import Assignment, News
from riskscale.partition.calls import MOST, Beat, Change, GroupCalls

log = logging.getLogger("riskscale.partition")

SPREAD = 0.001
"""Seconds, for each member, over which all come when the shares have changed: not all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """What a group is, and how this replica takes part in it."""

    name: str
    calls: GroupCalls
    partitions: int
    ttl_us: int
    address: str
    drain: float

    @property
    def ttl(self) -> float:
        """In seconds."""
        return self.ttl_us / MICRO

    @property
    def heartbeat(self) -> float:
        """Seconds between beats."""
        return self.ttl / 3


class Member:
    """From joining to leaving; the facade sends what :meth:`send` gives, one at a time, and tells what ``news`` has."""

    def __init__(
        self, spec: GroupSpec, monotonic: Callable[[], float], draw: Callable[[], float] = random.random
    ) -> None:
        self.spec, self.monotonic, self._draw = spec, monotonic, draw
        self.name = new_node()
        self.token = spec.calls.token
        """By which messages find it."""
        self.deadline = 0.0
        """On the monotonic clock: when the lease on all of it ends."""
        self.held: dict[int, Assignment] = {}
        self.news: deque[News] = deque()
        self.wake: Callable[[], None] = lambda: None
        """Called when there is something to do at once."""
        self.leaves_until: float | None = None
        """When what it drains before it leaves must be drained."""
        self.lost = 0
        """How many partitions were not given back in order, and not counted yet."""
        self._draining: dict[int, float] = {}
        self._returned: dict[int, int] = {}
        self._epochs: dict[int, int] = {}
        self._inbox: deque[str] = deque()
        self._sent_at: float | None = None
        self._given: dict[int, int] = {}
        self._seen = self._version = self._shares = self._share = 0
        self._next = self._not_before = 0.0
        self._wanted: float = 0
        """The version that the reply to the beat under way must have seen; otherwise it is sent again at once."""
        self._margin = min(spec.ttl / 20, LONGEST_MARGIN)
        self._is_gone = self._has_ended = False

    # What its user asks

    def check(self, partition: int, epoch: int | None) -> Assignment:
        """The assignment of a partition that is owned; WrongOwner."""
        found = self.held.get(partition)
        newest = max(self._epochs.get(partition, 0), epoch or 0)
        if found is None or found.lost or newest > found.epoch:
            raise WrongOwner(partition, self._epochs.get(partition, 0))
        return found

    def drained(self, items: Sequence[Assignment]) -> None:
        """The work on them has ended: they may go."""
        for each in items:
            if self.held.get(each.partition) is each and each.partition in self._draining:
                self._return(each)
        if self._returned:
            self.wake()

    def leave(self) -> None:
        """Take no more, and drain what there is."""
        self.leaves_until = self.monotonic() + self.spec.drain
        self._revoke([each for each in self.held.values() if each.partition not in self._draining])
        self._want(math.inf, self.monotonic())
        self.wake()

    def end(self) -> float:
        """Nothing more will come: whatever there is still is lost. Seconds that its user has for hearing so."""
        self._lose(list(self.held.values()))
        self._has_ended, self.deadline = True, 0.0
        return max(0.0, (self.leaves_until or 0.0) - self.monotonic())

    @property
    def is_done(self) -> bool:
        """Whether it leaves, and nothing holds it any more."""
        return self.leaves_until is not None and not self.held

    # What there is to send

    def send(self) -> Call[Any] | None:
        """Look, and then what is due, if anything; followed by :meth:`answered` or :meth:`failed`."""
        self._look()  # before: no renewal may bring back what has ended
        now = self.monotonic()
        if self._sent_at is not None or now < self._not_before:
            return None
        if not self._returned:
            return self.beat() if now >= self._next else None
        self._sent_at, self._given = now, dict(list(self._returned.items())[:MOST])
        return self.spec.calls.release(self.name, list(self._given.items()))

    def beat(self) -> Call[Beat]:
        """Join, or stay, or tell that it is about to leave; followed by the same."""
        spec, self._sent_at, self._wanted = self.spec, self.monotonic(), 0
        stays = self.leaves_until is None
        return spec.calls.beat(self.name, stays, spec.partitions, spec.ttl_us, self._seen, spec.address)

    def answered(self, reply: Beat | list[bool]) -> None:
        """The reply to it."""
        if self._has_ended:
            return
        sent_at, self._sent_at, self._not_before = self._sent_at or 0.0, None, 0.0
        if not isinstance(reply, Beat):
            for partition, epoch in self._given.items():
                if self._returned[partition] == epoch:  # not a newer one, lost meanwhile
                    del self._returned[partition]
            if len(self.held) < self._share:
                self._next = 0.0
            return
        deadline = max(self.deadline, sent_at + self.spec.ttl)
        if self.monotonic() >= deadline - self._margin:  # too late to count on; the next reply says the same again
            self._next = 0.0
            return
        self._is_gone, self._version = False, reply.version
        if reply.version >= self._wanted:
            self._next = sent_at + self.spec.heartbeat
        self._seen, self._shares, self._share = reply.changed, reply.shares, reply.share
        if reply.owned is not None:
            self._lose_what_is_not(reply.owned)  # first: it must not be lengthened
        self.deadline = deadline
        if reply.owned is not None:
            self._take(reply.owned)
        self._shrink(reply.held - reply.share)

    def failed(self, error: BaseException | None) -> None:
        """There is none, and perhaps never will be. None: it was cut short."""
        self._sent_at = None
        self._not_before = self.monotonic() + min(max(self.spec.ttl / 10, RETRY[0]), RETRY[1])
        self._next = 0.0
        if error is not None and not self._is_gone:
            self._is_gone = True
            log.warning("group %r: no renewal (%s), again and again", self.spec.name, type(error).__name__)

    # What comes

    def put(self, message: str) -> None:
        """From the mailbox: a change, or '' to look. No more than noted: the mailbox is locked meanwhile."""
        self._inbox.append(message)
        self.wake()

    def _look(self) -> None:
        """At what the mailbox left, and at the time."""
        while self._inbox:
            self._heard(self._inbox.popleft())
        now = self.monotonic()
        if self.held and now >= self.lost_at:
            log.warning("group %r: %d partitions lost: no renewal in time", self.spec.name, len(self.held))
            self._lose(list(self.held.values()))
        for partition in [each for each, until in self._draining.items() if until <= now]:
            log.warning("group %r: partition %d given back undrained", self.spec.name, partition)
            self.lost += 1
            self._return(self.held[partition])

    def pause(self) -> float | None:
        """Seconds until there is something to do, if nothing comes; None: only then."""
        ends = [self.lost_at] if self.held else []
        if self._sent_at is None:
            ends.append(max(self._not_before, 0.0 if self._returned else self._next))
        ends += self._draining.values()
        return max(0.0, min(ends) - self.monotonic()) if ends else None

    @property
    def lost_at(self) -> float:
        """When it gives up what it owns: a little before the lease ends."""
        return self.deadline - self._margin

    # Inside

    def _lose_what_is_not(self, owned: dict[int, int]) -> None:
        """By the server's word."""
        gone = [each for each in self.held.values() if owned.get(each.partition) != each.epoch]
        if gone:
            log.warning(
                "group %r: %d partitions lost: the lease had ended, or was forgotten", self.spec.name, len(gone)
            )
            self._lose(gone, gives_back=False)

    def _take(self, owned: dict[int, int]) -> None:
        """What is new of it; but what this side has given up it gives back, and does not take up again."""
        fresh = [
            Assignment(self, *each)
            for each in owned.items()
            if each[0] not in self.held and self._returned.get(each[0]) != each[1]
        ]
        for each in fresh:
            self.held[each.partition] = each
            self._hear_of(each.partition, each.epoch)
        if fresh:
            self.news.append(News(True, fresh))
        if self.leaves_until is not None:
            self._revoke(fresh)

    def _shrink(self, surplus: int) -> None:
        """The newest go first."""
        free = [each for each in self.held.values() if each.partition not in self._draining]
        going = surplus - len(self._draining) - len(self._returned)
        if going > 0:
            self._revoke(sorted(free, key=lambda each: (-each.epoch, -each.partition))[:going])

    def _revoke(self, items: Sequence[Assignment]) -> None:
        until = self.monotonic() + self.spec.drain
        self._draining |= dict.fromkeys((each.partition for each in items), until)
        if items:
            self.news.append(News(False, items))

    def _lose(self, items: Sequence[Assignment], *, gives_back: bool = True) -> None:
        untold = [each for each in items if each.partition not in self._draining]
        for each in items:
            self._return(each)
            if not gives_back:
                del self._returned[each.partition]
        self.lost += len(items)
        if untold:
            self.news.append(News(False, untold))

    def _return(self, each: Assignment) -> None:
        each._is_over = True
        del self.held[each.partition]
        self._draining.pop(each.partition, None)
        self._returned[each.partition] = each.epoch

    def _heard(self, message: str) -> None:
        now = self.monotonic()
        try:
            change = Change.of(message)
        except ValueError:  # '', or of a release that says it differently
            self._want(math.inf, now)
            return
        for partition, epoch in change.taken:
            self._hear_of(partition, epoch)
        if change.member == self.name or change.version <= self._version:  # a reply says it too
            return
        if change.shares != self._shares or (change.idle and len(self.held) < self._share):
            self._want(change.version, now + self._draw() * change.staying * SPREAD)

    def _want(self, version: float, at: float) -> None:
        """A beat at that time; and one that is under way, and has not seen that version, does not do."""
        self._next, self._wanted = min(self._next, at), max(self._wanted, version)

    def _hear_of(self, partition: int, epoch: int) -> None:
        self._epochs[partition] = max(epoch, self._epochs.get(partition, 0))
