"""Which leases are to be renewed when, and which are lost: the keeper's reckoning, without a clock or a socket."""

from __future__ import annotations

import heapq
import math
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from riskscale._core.call import Call
from riskscale._core.durations import MICRO
from riskscale.lease.grant import Grant, renewal

BATCH = 512
LONGEST_MARGIN = 0.1
RETRY = (0.02, 1.0)
"""Seconds, at the least and at the most, until a renewal that failed is tried again; a tenth of the ttl between."""


@dataclass(slots=True, eq=False)
class Watch:
    """One grant that is looked after. ``lease`` is the object that its user holds: without it nothing is renewed."""

    grant: Grant
    lease: weakref.ref[Any]
    renews: bool
    stop_at: float = math.inf
    told: Callable[[Watch], None] = lambda _: None
    in_flight: bool = False
    due: float = math.inf
    at: float = math.inf

    @property
    def token(self) -> str:
        """By which messages find it."""
        return self.grant.token

    def put(self, message: str) -> None:
        """From the mailbox."""
        if message == "lost":
            self.told(self)

    @property
    def lost_at(self) -> float:
        """When the holder hears that it is over: a little before it is."""
        return self.grant.deadline - min(self.grant.ttl_us / MICRO / 20, LONGEST_MARGIN)

    def ttl_us(self, now: float) -> int:
        """The length of its next renewal: as always, or what ``max_lifetime`` leaves."""
        return (
            min(self.grant.ttl_us, int((self.stop_at - now) * MICRO)) if self.stop_at < math.inf else self.grant.ttl_us
        )

    def plan(self) -> None:
        """A renewal at a third of the ttl, unless it would not lengthen the lease any more."""
        useful = self.renews and self.grant.deadline < self.stop_at - 0.001
        self.due = self.grant.deadline - self.grant.ttl_us / MICRO * 2 / 3 if useful else math.inf


@dataclass(slots=True, eq=False)
class Batch:
    """Renewals that travel together."""

    watches: Sequence[Watch]
    call: Call[list[int]]
    until: list[float] = field(default_factory=list)
    within: float = math.inf
    """Seconds after which it is given up, to be tried anew."""


class Book:
    """All watches, by the time at which something is to be done for each."""

    def __init__(self, slot_of: Callable[[bytes], Hashable]) -> None:
        self.watches: set[Watch] = set()
        self._slot_of = slot_of
        self._heap: list[tuple[float, int, Watch]] = []
        self._order = count()

    def add(self, watch: Watch) -> None:
        """Look after it from now on."""
        self.watches.add(watch)
        self.changed(watch)

    def forget(self, watch: Watch) -> None:
        """No more."""
        self.watches.discard(watch)
        watch.at = math.inf

    def changed(self, watch: Watch) -> None:
        """Its deadline may have moved."""
        if watch in self.watches:
            watch.plan()
            self._push(watch)

    def next_at(self) -> float:
        """When to look again; infinite where nothing is to be done."""
        while self._heap and self._heap[0][0] != self._heap[0][2].at:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def look(self, now: float) -> tuple[list[Watch], list[Batch]]:
        """What is lost at this time, and what is to be renewed; both are the caller's to carry out."""
        lost: list[Watch] = []
        due: list[Watch] = []
        later: list[Watch] = []
        horizon = now
        while self.next_at() <= horizon:
            watch = heapq.heappop(self._heap)[2]
            watch.at = math.inf
            if watch.lost_at <= now or watch.lease() is None:
                self.forget(watch)
                lost.append(watch)
            elif not watch.in_flight and watch.due <= horizon:
                due.append(watch)
                horizon = max(horizon, now + watch.grant.ttl_us / MICRO / 12)  # those nearly due come along
            else:
                later.append(watch)
        for watch in later:
            self._push(watch)
        return lost, list(self._batches(due, now))

    def answered(self, batch: Batch, fences: Sequence[int | None]) -> list[Watch]:
        """The fences of a batch that was renewed; those of it that turned out to be lost."""
        lost = []
        for watch, until, fence in zip(batch.watches, batch.until, fences, strict=True):
            watch.in_flight = False
            if watch.grant.renewed(until, fence):
                self.changed(watch)
            elif watch in self.watches:
                self.forget(watch)
                lost.append(watch)
        return lost

    def failed(self, batch: Batch, now: float) -> None:
        """A batch whose outcome is unknown: try again soon."""
        self.answered(batch, [None] * len(batch.watches))
        for watch in batch.watches:
            if watch in self.watches and watch.due < math.inf:
                retry = min(max(watch.grant.ttl_us / MICRO / 10, RETRY[0]), RETRY[1])
                watch.due = max(watch.due, now + retry)
                self._push(watch)

    def _push(self, watch: Watch) -> None:
        at = watch.lost_at if watch.in_flight else min(watch.due, watch.lost_at)
        if at < watch.at:  # what moved to later is found when its old time comes: the heap stays small
            watch.at = at
            heapq.heappush(self._heap, (at, next(self._order), watch))

    def _batches(self, due: Sequence[Watch], now: float) -> Iterator[Batch]:
        groups: dict[tuple[str, Hashable], list[Watch]] = {}
        for watch in due:
            if watch.ttl_us(now) < 1000:  # max_lifetime is all but over
                watch.renews = False
                self.changed(watch)
            else:
                groups.setdefault((watch.grant.spec.renew_script, self._slot_of(watch.grant.spec.key)), []).append(
                    watch
                )
        for (script, _), watches in groups.items():
            for start in range(0, len(watches), BATCH):
                yield self._batch(script, watches[start : start + BATCH], now)

    def _batch(self, script: str, watches: Sequence[Watch], now: float) -> Batch:
        lengths = [watch.ttl_us(now) for watch in watches]
        items = [(each.grant.spec.key, each.grant.token, ttl_us) for each, ttl_us in zip(watches, lengths, strict=True)]
        batch = Batch(watches, renewal(script, items), within=min(lengths) / MICRO / 3)
        for watch, ttl_us in zip(watches, lengths, strict=True):
            batch.until.append(watch.grant.renewing(now, ttl_us))
            watch.in_flight = True
            self._push(watch)
        return batch
