"""The lock for threads; see :mod:`riskscale.lock.lock`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from riskscale._core.durations import Duration, seconds
from riskscale.errors import AcquireTimeout
from riskscale.lock import calls, flows
from riskscale.lock._facade import BaseLease, BaseLock
from riskscale.lock.calls import LockInfo
from riskscale.lock.flows import Grant
from riskscale.sync.hub import Hub, hub_of

log = logging.getLogger("riskscale.lock")


class Lease(BaseLease):
    """A lock that is held; see :class:`riskscale.Lease`."""

    def __init__(self, hub: Hub, grant: Grant) -> None:
        super().__init__(hub, grant)
        self._hub = hub
        hub._leases.add(self)

    def renew(self, ttl: Duration | None = None) -> None:
        """See :meth:`riskscale.Lease.renew`."""
        self._hub.drive(flows.renew(self._grant, ttl, self._monotonic))

    def release(self) -> None:
        """See :meth:`riskscale.Lease.release`."""
        try:
            self._hub.drive(flows.release(self._grant))
        finally:
            if self._grant.settled:
                self._hub._leases.discard(self)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.release()
        except Exception as error:  # the one under way says more, and a cancellation must stay one
            if kind is None:
                raise
            log.warning("the lease on %r could not be released: %s", self.name, type(error).__name__)


class Lock(BaseLock[Lease]):
    """A lock that replicas share, for a blocking client; see :class:`riskscale.Lock`.

    ``with lock as lease:`` remembers its lease for the current thread.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        ttl: Duration,
        wait: Duration | None = None,
        tag: str | None = None,
        metadata: str = "",
    ) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, name, ttl, wait, tag, metadata)

    def acquire(self, timeout: Duration | None = None) -> Lease | None:
        """See :meth:`riskscale.Lock.acquire`; one call under way is bounded by the client's ``socket_timeout``."""
        limit = None if timeout is None else seconds(timeout, "timeout")
        flow = flows.acquire(self._spec, limit, self._hub.monotonic, lambda grant: Lease(self._hub, grant))
        return self._hub.drive(flow)

    @contextmanager
    def hold(self, timeout: Duration | None = None) -> Iterator[Lease]:
        """See :meth:`riskscale.Lock.hold`."""
        with self._acquired(self._wait if timeout is None else seconds(timeout, "timeout")) as lease:
            yield lease

    def locked(self) -> bool:
        """Whether somebody holds the lock now."""
        return self.inspect(0).held

    def inspect(self, waiters: int = 100) -> LockInfo:
        """Who holds the lock, and the first ``waiters`` (0 to 1000) of its queue. Changes nothing."""
        return self._hub.run(calls.inspect(self._spec.keys, waiters))

    def __enter__(self) -> Lease:
        thread = threading.get_ident()
        self._entered.check(thread, self.name)
        lease = self._acquired(self._wait)
        self._entered.put(thread, lease)
        return lease

    def __exit__(self, *error: Any) -> None:
        self._entered.pop(threading.get_ident(), self.name).__exit__(*error)

    def _acquired(self, timeout: float | None) -> Lease:
        lease = self.acquire(timeout)
        if lease is None:
            raise AcquireTimeout(self.name, timeout or 0.0)
        return lease
