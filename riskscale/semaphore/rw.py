"""The read/write lock for asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from riskscale._core.call import Flow
from riskscale._core.durations import Duration
from riskscale._core.hub import Hub, hub_of
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lease.lease import Lease, Leased
from riskscale.semaphore import calls
from riskscale.semaphore.calls import SemaphoreInfo
from riskscale.semaphore.spec import WRITER, SemaphoreSpec


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
    """Many readers or one writer, over all replicas: first come first served, each for a lease of its own.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what is locked; any text. No other primitive is in its way.
        ttl: seconds (or timedelta) after which a lease ends unless it is renewed.
        wait: seconds that ``async with rw.read()`` waits before AcquireTimeout; None: for ever.
        tag: text that decides the cluster slot in place of the name.
        metadata: what others may read with :meth:`inspect`: a mapping, kept as JSON, or text; 1 kB at most.
        terms: how the lease is kept; see :class:`riskscale.lease.base.LeaseTerms`.

    Raises:
        ArgumentError: an argument is malformed.

    A reader that comes after a waiting writer waits behind it, so that writers do not starve. Each reader has a lease
    of its own, which the end of another's does not cut. A reader does not become a writer: it would wait for itself.
    """

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
        """To read: ``async with rw.read() as lease:``, ``await rw.read().acquire(timeout=...)``."""
        return Side(self._hub, self._spec, self._wait, self._terms)

    def write(self) -> Side:
        """To write; as :meth:`read`."""
        return Side(self._hub, self._spec.weighing(WRITER), self._wait, self._terms)

    async def inspect(self, most: int = 100) -> SemaphoreInfo:
        """Who reads or writes, and who waits: the first ``most`` (0 to 1000) of each. A reader weighs 1, a writer more.
        Changes nothing."""
        return await self._hub.run(calls.inspect(self._spec.keys, most))

    def __repr__(self) -> str:
        return f"<riskscale.ReadWriteLock {self.name!r}>"
