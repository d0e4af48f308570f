"""The lock for asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from riskscale._core.call import Flow
from riskscale._core.durations import Duration, seconds
from riskscale._core.hub import hub_of
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lease.lease import Lease, Leased
from riskscale.lock import calls
from riskscale.lock.calls import LockInfo, LockKeys
from riskscale.lock.spec import LockSpec, owner_token


class Lock(Leased):
    """A lock that replicas share: one holder at a time, first come first served, over when its lease is.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what is locked; any text.
        ttl: seconds (or timedelta) after which the lease ends unless it is renewed; what redis-py calls ``timeout``.
        wait: seconds that ``async with lock`` waits before AcquireTimeout; None: for ever.
        tag: text that decides the cluster slot in place of the name, where several locks must share one.
        metadata: what others may read with :meth:`inspect`: a mapping, kept as JSON, or text; 1 kB at most.
        fair: False for a plain race, without order: it wins when nobody queues, and is woken when the lock comes free.
        terms: how the lease is kept; see :class:`riskscale.lease.base.LeaseTerms`.

    Raises:
        ArgumentError: an argument is malformed.

    ``async with lock as lease:`` remembers its lease for the current task. Tasks that share one Lock at a time use
    ``async with lock.hold() as lease:``, which remembers nothing.
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
        fair: bool = True,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        hub = hub_of(client)
        self._spec = LockSpec.of(name, LockKeys.of(hub.key(name, tag)), ttl, metadata, fair)
        super().__init__(hub, name, wait, Terms.of(hub, **terms))

    async def acquire(self, timeout: Duration | None = None, *, owner: str | None = None) -> Lease | None:
        """Take the lock.

        Args:
            timeout: seconds to wait for it; None: for ever; 0: try once, without joining the queue.
            owner: for a re-entrant lock: whoever names the same owner holds it together. Each lease is a hold of its
                own; the lock is free when all are released. Keep the name to yourself: it is what holds the lock.

        Returns:
            The lease, or None if the lock did not come free in time.

        Raises:
            ArgumentError: ``timeout`` is negative or not a number.
            AcquireTimeout: fewer replicas than ``min_replicas`` acknowledged it in time.
            StateError: a key of the lock holds something else.
            LeaseLost: waiting for ever, and each reply came later than the lease is long.
            TimeoutError: the server gave no answer (a call under way is given a second at least, giving back one more).
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        return await self._hub.drive(self._acquire(limit, owner_token(owner)))

    async def locked(self) -> bool:
        """Whether somebody holds the lock now."""
        return (await self.inspect(0)).held

    async def inspect(self, waiters: int = 100) -> LockInfo:
        """Who holds the lock, and the first ``waiters`` (0 to 1000) of its queue. Changes nothing."""
        return await self._hub.run(calls.inspect(self._spec.keys, waiters))

    def _acquire(self, timeout: float | None, owner: str = "") -> Flow[Lease | None]:
        replicas = self._terms.replicas
        return flows.acquire(
            self._spec, timeout, self._hub.monotonic, self._lease, replicas=replicas, owner=owner, meter=self._hub.meter
        )
