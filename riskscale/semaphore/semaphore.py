"""The semaphore for asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from riskscale._core.call import Flow
from riskscale._core.durations import Duration, seconds
from riskscale._core.hub import hub_of
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lease.lease import Hold, Lease, Leased
from riskscale.semaphore import calls
from riskscale.semaphore.calls import SemaphoreInfo
from riskscale.semaphore.spec import SemaphoreSpec


class Weighted(Leased):
    """What gives leases that weigh."""

    _kind = "semaphore"
    _spec: SemaphoreSpec

    async def acquire(self, timeout: Duration | None = None, *, weight: int = 1) -> Lease | None:
        """Take ``weight`` of it.

        Args:
            timeout: seconds to wait for it; None: for ever; 0: try once, without joining the queue.
            weight: how much, 1 to ``limit``.

        Returns:
            The lease, or None if so much did not come free in time.

        Raises:
            ArgumentError: ``timeout`` is negative or not a number; ``weight`` can never be had.
            AcquireTimeout: fewer replicas than ``min_replicas`` acknowledged it in time.
            StateError: a key of it holds something else.
            LeaseLost: waiting for ever, and each reply came later than the lease is long.
            TimeoutError: the server gave no answer (a call under way is given a second at least, giving back one more).
        """
        return await self._hub.drive(self._acquire(None if timeout is None else seconds(timeout, "timeout"), weight))

    def hold(self, timeout: Duration | None = None, *, weight: int = 1) -> Hold:
        """Hold it for one block; AcquireTimeout after ``timeout`` seconds (None: its ``wait``)."""
        limit = self._wait if timeout is None else seconds(timeout, "timeout")
        return Hold(self._name, lambda: self._acquired(self._acquire(limit, weight), limit))

    async def inspect(self, most: int = 100) -> SemaphoreInfo:
        """Who holds how much, and who waits: the first ``most`` (0 to 1000) of each. Changes nothing."""
        return await self._hub.run(calls.inspect(self._spec.keys, most))

    def _acquire(self, timeout: float | None, weight: int = 1) -> Flow[Lease | None]:
        spec, replicas = self._spec.weighing(weight), self._terms.replicas
        return flows.acquire(spec, timeout, self._hub.monotonic, self._lease, replicas=replicas, meter=self._hub.meter)


class Semaphore(Weighted):
    """At most ``limit`` at once, by all replicas together: first come first served, each for a lease of its own.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what is shared; any text.
        limit: how much of it there is; 1 to 1,000,000,000. It is each caller's own: what was granted under a higher
            one stays granted.
        ttl: seconds (or timedelta) after which a lease ends unless it is renewed.
        wait: seconds that ``async with semaphore`` waits before AcquireTimeout; None: for ever.
        tag: text that decides the cluster slot in place of the name.
        metadata: what others may read with :meth:`inspect`: a mapping, kept as JSON, or text; 1 kB at most.
        terms: how the lease is kept; see :class:`riskscale.lease.base.LeaseTerms`.

    Raises:
        ArgumentError: an argument is malformed.

    Whoever asks for more than is free waits at the head of the queue, and those behind it wait for it: it does not
    starve. Tasks that share one Semaphore use ``async with semaphore.hold() as lease:``.
    """

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
