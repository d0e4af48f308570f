"""The bulkhead of all processes together, for asyncio."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, Unpack, overload

from riskscale._core.call import Flow
from riskscale._core.durations import Duration
from riskscale._core.hub import hub_of
from riskscale.bulkhead.base import BulkheadStatus, check_task
from riskscale.bulkhead.places import Places
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lease.lease import Lease
from riskscale.semaphore.semaphore import Weighted
from riskscale.semaphore.spec import SemaphoreSpec

R = TypeVar("R")


class SharedBulkhead(Weighted):
    """At most ``limit`` run at once in all processes together, at most ``max_queued`` more wait; the next is refused.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what is protected; any text. No other primitive is in its way.
        limit: how many may run, weights added up; 1 to 1,000,000,000.
        max_queued: how many may wait; 0 to 1,000,000.
        ttl: seconds (or timedelta) after which the place of a process that died is free again.
        wait: seconds that one waits before AcquireTimeout; None: until its turn.
        tag: text that decides the cluster slot in place of the name.
        metadata: what others may read with :meth:`inspect`: a mapping, kept as JSON, or text; 1 kB at most.
        terms: how a place is kept; see :class:`riskscale.lease.base.LeaseTerms`. It is renewed unless they say
            ``auto_renew=False``.

    Raises:
        ArgumentError: an argument is malformed.

    A place is a lease of a semaphore, and everything a :class:`riskscale.Semaphore` promises holds: order of arrival,
    weights, a lease for each. ``hold()``, ``acquire()`` and ``async with`` raise BulkheadFull where it is full. A
    waiter that died is in nobody's way for longer than 4 s.
    """

    _kind = "bulkhead"

    def __init__(
        self,
        client: Any,
        name: str,
        limit: int,
        max_queued: int,
        *,
        ttl: Duration = 30,
        wait: Duration | None = None,
        tag: str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        hub = hub_of(client)
        spec = SemaphoreSpec.of_bulkhead(name, hub.key(name, tag), limit, max_queued, ttl, metadata)
        self._places = Places(hub, spec)
        self._spec = spec
        super().__init__(hub, name, wait, Terms.of(hub, **LeaseTerms(auto_renew=True) | terms))

    @overload
    async def submit(self, task: Callable[..., Awaitable[R]], *args: Any, **kwargs: Any) -> R: ...
    @overload
    async def submit(self, task: Callable[..., R], *args: Any, **kwargs: Any) -> R: ...
    async def submit(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``task`` with these arguments when its turn comes, in the caller's own task; what it returns.

        Once ``task`` has returned, its result is given back whatever became of the place: one that was lost (the
        process slept, the server forgot) is counted as ``bulkhead_lost`` and logged. With ``cancel_on_lost=True`` the
        task is cancelled instead, and LeaseLost raised.

        Raises:
            BulkheadFull: as many run and wait as may; ``task`` was not called.
            AcquireTimeout: its turn did not come within ``wait`` seconds; ``task`` was not called.
            Whatever :meth:`acquire` raises, and whatever ``task`` raises.
        """
        return await self._submit(1, task, args, kwargs)

    @overload
    async def submit_weighing(
        self, weight: int, task: Callable[..., Awaitable[R]], /, *args: Any, **kwargs: Any
    ) -> R: ...
    @overload
    async def submit_weighing(self, weight: int, task: Callable[..., R], /, *args: Any, **kwargs: Any) -> R: ...
    async def submit_weighing(self, weight: int, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """:meth:`submit` of a task that takes up ``weight`` of the limit, in place of 1."""
        return await self._submit(weight, task, args, kwargs)

    def resize(self, limit: int, max_queued: int | None = None) -> None:
        """Change the limits, as this process sees them; ``max_queued`` stays where it is None.

        Nobody is cut off: under a smaller limit nothing begins until enough has ended. Those of this process who wait
        ask again at once, under the new limit; other processes keep theirs until they are told.
        """
        self._spec = self._places.resize(limit, max_queued)
        self._hub.mailbox.wake()

    async def status(self) -> BulkheadStatus:
        """How full it is, in all processes together; one round trip."""
        return self._places.status(await self.inspect(0))

    def _acquire(self, timeout: float | None, weight: int = 1) -> Flow[Lease | None]:
        return self._places.enter(timeout, weight, self._lease, self._terms.replicas)

    async def _submit(self, weight: int, task: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        check_task(task)
        results: list[Any] = []
        try:
            async with await self._acquired(self._acquire(self._wait, weight), self._wait):
                result = task(*args, **kwargs)
                results.append(await result if inspect.isawaitable(result) else result)
        except Exception as error:
            if not results:
                raise
            self._places.ended_without(error)
        return results[0]
