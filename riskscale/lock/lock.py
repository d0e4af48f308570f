"""The lock for asyncio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from riskscale._core.durations import Duration, seconds
from riskscale._core.hub import Hub, hub_of
from riskscale.errors import AcquireTimeout
from riskscale.lock import calls, flows
from riskscale.lock._facade import BaseLease, BaseLock
from riskscale.lock.calls import LockInfo
from riskscale.lock.flows import Grant

log = logging.getLogger("riskscale.lock")


class Lease(BaseLease):
    """A lock that is held. ``async with lease:`` releases it at the end."""

    def __init__(self, hub: Hub, grant: Grant) -> None:
        super().__init__(hub, grant)
        self._hub = hub
        hub._leases.add(self)

    async def renew(self, ttl: Duration | None = None) -> None:
        """Lengthen the lease to ``ttl`` seconds from now (None: the lock's own).

        Raises:
            LeaseLost: it has ended or was released; nothing is changed.
            ArgumentError: ``ttl`` is not from 1 ms to 366 days.
        """
        await self._hub.drive(flows.renew(self._grant, ttl, self._monotonic))

    async def release(self) -> None:
        """Let go. A second call does nothing; after an error of the client the call can be repeated.

        Raises:
            LeaseLost: the lease had ended before; what it guarded may have been done by another meanwhile.
        """
        try:
            await self._hub.drive(flows.release(self._grant))
        finally:
            if self._grant.settled:
                self._hub._leases.discard(self)

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            await self.release()
        except Exception as error:  # the one under way says more, and a cancellation must stay one
            if kind is None:
                raise
            log.warning("the lease on %r could not be released: %s", self.name, type(error).__name__)


class Lock(BaseLock[Lease]):
    """A lock that replicas share: one holder at a time, first come first served, over when its lease is.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what is locked; any text.
        ttl: seconds (or timedelta) after which the lease ends unless it is renewed; what redis-py calls ``timeout``.
        wait: seconds that ``async with lock`` waits before AcquireTimeout; None: for ever.
        tag: text that decides the cluster slot in place of the name, where several locks must share one.
        metadata: text of at most 1 kB that others may read with :meth:`inspect`.

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
        metadata: str = "",
    ) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, name, ttl, wait, tag, metadata)

    async def acquire(self, timeout: Duration | None = None) -> Lease | None:
        """Take the lock.

        Args:
            timeout: seconds to wait for it; None: for ever; 0: try once, without joining the queue.

        Returns:
            The lease, or None if the lock did not come free in time.

        Raises:
            ArgumentError: ``timeout`` is negative or not a number.
            StateError: a key of the lock holds something else.
            LeaseLost: waiting for ever, and each reply came later than the lease is long.
            TimeoutError: the server gave no answer (a call under way is given a second at least, giving back one more).
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        flow = flows.acquire(self._spec, limit, self._hub.monotonic, lambda grant: Lease(self._hub, grant))
        return await self._hub.drive(flow)

    @asynccontextmanager
    async def hold(self, timeout: Duration | None = None) -> AsyncIterator[Lease]:
        """Hold the lock for one block; AcquireTimeout after ``timeout`` seconds (None: the lock's ``wait``)."""
        async with await self._acquired(self._wait if timeout is None else seconds(timeout, "timeout")) as lease:
            yield lease

    async def locked(self) -> bool:
        """Whether somebody holds the lock now."""
        return (await self.inspect(0)).held

    async def inspect(self, waiters: int = 100) -> LockInfo:
        """Who holds the lock, and the first ``waiters`` (0 to 1000) of its queue. Changes nothing."""
        return await self._hub.run(calls.inspect(self._spec.keys, waiters))

    async def __aenter__(self) -> Lease:
        task = asyncio.current_task()
        self._entered.check(task, self.name)
        lease = await self._acquired(self._wait)
        self._entered.put(task, lease)
        return lease

    async def __aexit__(self, *error: Any) -> None:
        await self._entered.pop(asyncio.current_task(), self.name).__aexit__(*error)

    async def _acquired(self, timeout: float | None) -> Lease:
        lease = await self.acquire(timeout)
        if lease is None:
            raise AcquireTimeout(self.name, timeout or 0.0)
        return lease
