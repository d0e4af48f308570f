"""The semaphore and the read/write lock for threads; see :mod:`riskscale.semaphore`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Unpack

from riskscale._core.call import Flow
from riskscale._core.durations import Duration, seconds
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.semaphore import calls
from riskscale.semaphore.calls import SemaphoreInfo
from riskscale.semaphore.spec import WRITER, SemaphoreSpec
from riskscale.sync.hub import Hub, hub_of
from riskscale.sync.lease import Lease, Leased


class Weighted(Leased):
    """What gives leases that weigh."""

    _kind = "semaphore"
    _spec: SemaphoreSpec

    def acquire(self, timeout: Duration | None = None, *, weight: int = 1) -> Lease | None:
        """See :meth:`riskscale.Semaphore.acquire`; one call under way is bounded by the client's ``socket_timeout``."""
        return self._hub.drive(self._acquire(None if timeout is None else seconds(timeout, "timeout"), weight))

    @contextmanager
    def hold(self, timeout: Duration | None = None, *, weight: int = 1) -> Iterator[Lease]:
        """Hold it for one block; AcquireTimeout after ``timeout`` seconds (None: its ``wait``)."""
        limit = self._wait if timeout is None else seconds(timeout, "timeout")
        with self._acquired(self._acquire(limit, weight), limit) as lease:
            yield lease

    def inspect(self, most: int = 100) -> SemaphoreInfo:
        """Who holds how much, and who waits: the first ``most`` (0 to 1000) of each. Changes nothing."""
        return self._hub.run(calls.inspect(self._spec.keys, most))

    def _acquire(self, timeout: float | None, weight: int = 1) -> Flow[Lease | None]:
        spec, replicas = self._spec.weighing(weight), self._terms.replicas
        return flows.acquire(spec, timeout, self._hub.monotonic, self._lease, replicas=replicas, meter=self._hub.meter)


class Semaphore(Weighted):
    """At most ``limit`` at once, by all replicas together, for a blocking client; see :class:`riskscale.Semaphore`."""

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        limit: int,
        ttl: Duration,
        wait: Duration | None = None,
        tag: str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        hub = hub_of(client)
        self._spec = SemaphoreSpec.of(name, hub.key(name, tag), limit, ttl, metadata)
        super().__init__(hub, name, wait, Terms.of(hub, **terms))


class Side(Leased):
    """The readers' side of a :class:`ReadWriteLock`, or the writers'."""

    def __init__(self, hub: Hub, spec: SemaphoreSpec, wait: Duration | None, terms: Terms) -> None:
        super().__init__(hub, spec.name, wait, terms)
        self._spec = spec

    def _acquire(self, timeout: float | None) -> Flow[Lease | None]:
        return flows.acquire(
            self._spec, timeout, self._hub.monotonic, self._lease, replicas=self._terms.replicas, meter=self._hub.meter
        )


class ReadWriteLock:
    """Many readers or one writer, over all replicas, for a blocking client; see :class:`riskscale.ReadWriteLock`."""

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        ttl: Duration,
        wait: Duration | None = None,
        tag: str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        self._hub = hub_of(client)
        self._spec = SemaphoreSpec.of_rw(name, self._hub.key(name, tag), ttl, metadata)
        self._wait = wait
        self._terms = Terms.of(self._hub, **terms)
        self.read()  # whatever is wrong with `wait` is said here

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._spec.name

    def read(self) -> Side:
        """To read: ``with rw.read() as lease:``, ``rw.read().acquire(timeout=...)``."""
        return Side(self._hub, self._spec, self._wait, self._terms)

    def write(self) -> Side:
        """To write; as :meth:`read`."""
        return Side(self._hub, self._spec.weighing(WRITER), self._wait, self._terms)

    def inspect(self, most: int = 100) -> SemaphoreInfo:
        """See :meth:`riskscale.ReadWriteLock.inspect`."""
        return self._hub.run(calls.inspect(self._spec.keys, most))

    def __repr__(self) -> str:
        return f"<riskscale.sync.ReadWriteLock {self.name!r}>"
