"""Leases for threads; see :mod:`riskscale.lease.lease`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from riskscale._core.call import Flow
from riskscale._core.durations import Duration, seconds
from riskscale.errors import AcquireTimeout, LeaseLost
from riskscale.lease import flows
from riskscale.lease.base import BaseLease, Entered, Terms
from riskscale.lease.grant import Grant
from riskscale.sync.hub import Hub
from riskscale.sync.keeper import Keeper

log = logging.getLogger("riskscale.lease")


class Lease(BaseLease):
    """What is held for a time; see :class:`riskscale.Lease`."""

    def __init__(self, hub: Hub, grants: Sequence[Grant], terms: Terms, name: str) -> None:
        super().__init__(hub, grants, terms, name)
        self._hub = hub
        self._lost: threading.Event | None = None
        self._mutex = threading.RLock()
        hub._leases.add(self)
        if terms.watched:
            self._watch()

    @property
    def lost(self) -> threading.Event:
        """See :attr:`riskscale.Lease.lost`; set by a thread of the hub."""
        with self._mutex:
            if self._lost is None:
                self._lost = threading.Event()
                if self._was_told or self._is_lost:
                    self._lost.set()
                elif not (self._watches or self._settled or self._lets_go):
                    self._watch()
            return self._lost

    def renew(self, ttl: Duration | None = None) -> None:
        """See :meth:`riskscale.Lease.renew`."""
        try:
            self._hub.drive(flows.renew(self._grants, ttl, self._hub))
        except LeaseLost:
            self._hear()
            raise
        finally:
            for watch in list(self._watches):
                self._hub.part(Keeper).changed(watch)

    def release(self) -> None:
        """See :meth:`riskscale.Lease.release`."""
        self._lets_go = True
        self._unwatch()
        try:
            self._hub.drive(flows.release(self._grants))
        except LeaseLost:
            self._hear()
            raise
        finally:
            self._end()

    def give_back(self) -> None:
        """See :meth:`riskscale.Lease.give_back`."""
        try:
            self.release()
        except LeaseLost:
            pass
        finally:
            self._was_told = True
            if self._lost is not None:
                self._lost.set()

    def __enter__(self) -> Lease:
        if self._is_lost:
            raise LeaseLost(self.name, self.fence, self._grant.spec.kind)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.release()
        except Exception as error:  # the one under way says more
            if kind is None:
                raise
            log.warning("the lease on %r could not be released: %s", self.name, type(error).__name__)

    def _end(self) -> None:
        """See :meth:`riskscale.lease.lease.Lease._end`."""
        if self._settled or self._lets_go:
            self._count_end()
        if self._settled:
            self._hub._leases.discard(self)
            self._unwatch()

    def _watch(self) -> None:
        self._watches = self._new_watches()
        for watch in self._watches:
            self._hub.part(Keeper).watch(watch)

    def _unwatch(self) -> None:
        with self._mutex:
            watches, self._watches = self._watches, []
        for watch in watches:
            self._hub.part(Keeper).forget(watch)

    def _hear(self) -> None:
        """It is lost."""
        self._count_end()
        self._unwatch()
        with self._mutex:
            if self._was_told:
                return
            self._was_told = True
            if self._lost is not None:
                self._lost.set()
        if self._terms.on_lost is not None:
            try:
                self._terms.on_lost(self)
            except Exception:
                log.exception("on_lost of %r failed", self.name)


class Leased:
    """What gives leases; see :class:`riskscale.lease.lease.Leased`."""

    _kind = "lock"

    def __init__(self, hub: Hub, name: str, wait: Duration | None, terms: Terms) -> None:
        self._hub = hub
        self._name = name
        self._wait = None if wait is None else seconds(wait, "wait")
        self._terms = terms
        self._entered: Entered[Lease] = Entered()

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._name

    def acquire(self, timeout: Duration | None = None) -> Lease | None:
        """As in asyncio; one call under way is bounded by the client's ``socket_timeout``."""
        return self._hub.drive(self._acquire(None if timeout is None else seconds(timeout, "timeout")))

    @contextmanager
    def hold(self, timeout: Duration | None = None) -> Iterator[Lease]:
        """Hold it for one block; AcquireTimeout after ``timeout`` seconds (None: its ``wait``)."""
        limit = self._wait if timeout is None else seconds(timeout, "timeout")
        with self._acquired(self._acquire(limit), limit) as lease:
            yield lease

    def __enter__(self) -> Lease:
        thread = threading.get_ident()
        self._entered.check(thread, self._name)
        lease = self._acquired(self._acquire(self._wait), self._wait)
        lease.__enter__()
        self._entered.put(thread, lease)
        return lease

    def __exit__(self, *error: Any) -> None:
        self._entered.pop(threading.get_ident(), self._name).__exit__(*error)

    def _acquired(self, flow: Flow[Lease | None], timeout: float | None) -> Lease:
        lease = self._hub.drive(flow)
        if lease is None:
            raise AcquireTimeout(self._name, timeout or 0.0, what=self._kind)
        return lease

    def _acquire(self, timeout: float | None) -> Flow[Lease | None]:
        raise NotImplementedError

    def _lease(self, *grants: Grant) -> Lease:
        return Lease(self._hub, grants, self._terms, self._name)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self._name!r}>"
