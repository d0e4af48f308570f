"""Leases for asyncio, and what everything that gives them has in common."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncContextDecorator
from typing import Any

from riskscale._core.call import Flow
from riskscale._core.durations import Duration, seconds
from riskscale._core.hub import Hub
from riskscale.errors import AcquireTimeout, LeaseLost, StateError
from riskscale.lease import flows
from riskscale.lease.base import BaseLease, Entered, Terms
from riskscale.lease.grant import Grant
from riskscale.lease.keeper import Keeper

log = logging.getLogger("riskscale.lease")


class Lease(BaseLease):
    """What is held for a time. ``async with lease:`` releases it at the end."""

    def __init__(self, hub: Hub, grants: Sequence[Grant], terms: Terms, name: str) -> None:
        super().__init__(hub, grants, terms, name)
        self._hub = hub
        self._lost: asyncio.Event | None = None
        self._entered_by: asyncio.Task[Any] | None = None
        self._cancels = 0
        self._was_cut = False
        hub._leases.add(self)
        if terms.watched:
            self._watch()

    @property
    def lost(self) -> asyncio.Event:
        """Set when the lease is over, or was taken: a little before its end (a twentieth of the ttl, 0.1 s at most)
        where it was not renewed, as soon as this process hears of it otherwise. Also where the
        hub gives it back because it closes; never by ``release()``."""
        if self._lost is None:
            self._lost = asyncio.Event()
            if self._was_told or self._is_lost:
                self._lost.set()
            elif not (self._watches or self._settled or self._lets_go):
                self._watch()
        return self._lost

    async def renew(self, ttl: Duration | None = None) -> None:
        """Lengthen the lease to ``ttl`` seconds from now (None: as long as it was last).

        Raises:
            LeaseLost: it has ended or was released; nothing is changed.
            ArgumentError: ``ttl`` is not from 1 ms to 366 days.
        """
        try:
            await self._hub.drive(flows.renew(self._grants, ttl, self._hub))
        except LeaseLost:
            self._hear()
            raise
        finally:
            for watch in self._watches:
                self._hub.part(Keeper).changed(watch)

    async def release(self) -> None:
        """Let go. A second call does nothing; after an error of the client the call can be repeated.

        From the first call on it is renewed no more, so it ends by itself where none gets through.

        Raises:
            LeaseLost: the lease had ended before; what it guarded may have been done by another meanwhile.
        """
        self._lets_go = True
        self._unwatch()
        try:
            await self._hub.drive(flows.release(self._grants))
        except LeaseLost:
            self._hear()
            raise
        finally:
            self._end()

    async def give_back(self) -> None:
        """Release it on behalf of its holder, who hears of it through ``lost``: the hub closes, a leader resigns."""
        try:
            await self.release()
        except LeaseLost:
            pass
        finally:
            self._was_told = True
            if self._lost is not None:
                self._lost.set()

    async def __aenter__(self) -> Lease:
        if self._is_lost:  # before it began: nobody would cancel the block
            raise LeaseLost(self.name, self.fence, self._grant.spec.kind)
        self._entered_by = asyncio.current_task()
        self._cancels = self._entered_by.cancelling() if self._entered_by else 0
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        entered_by, self._entered_by = self._entered_by, None
        try:
            await self.release()
        except Exception as failure:  # the one under way says more, and a cancellation must stay one
            if kind is None:
                raise
            log.warning("the lease on %r could not be released: %s", self.name, type(failure).__name__)
        finally:
            cut, self._was_cut = self._was_cut, False
            ours = cut and entered_by is not None and entered_by.uncancel() <= self._cancels
            if ours and isinstance(error, asyncio.CancelledError):
                raise LeaseLost(self.name, self.fence, self._grant.spec.kind) from error
        if entered_by is not asyncio.current_task():
            raise StateError(f"{self.name!r} must be left in the task where it was entered; it was released")

    def _end(self) -> None:
        """Look after it no more, if there is nothing left to give back."""
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
        watches, self._watches = self._watches, []
        for watch in watches:
            self._hub.part(Keeper).forget(watch)

    def _hear(self, *, cut: bool = False) -> None:
        """It is lost; ``cut`` says that nobody else tells the task inside the block."""
        self._count_end()
        self._unwatch()
        if self._was_told:
            return
        self._was_told = True
        if self._lost is not None:
            self._lost.set()
        if cut and self._terms.cancel_on_lost and self._entered_by is not None:
            self._was_cut = self._entered_by.cancel()
        if self._terms.on_lost is not None:
            self._hub.spawn(self._call_back(self._terms.on_lost))

    async def _call_back(self, on_lost: Any) -> None:
        try:
            result = on_lost(self)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("on_lost of %r failed", self.name)


class Hold(AsyncContextDecorator):
    """``async with``, or a decorator: what is acquired at the beginning is released at the end. One block each."""

    def __init__(self, name: str, acquire: Callable[[], Awaitable[Lease]]) -> None:
        self._name, self._acquire = name, acquire
        self._is_entered = False

    async def __aenter__(self) -> Lease:
        if self._is_entered:
            raise StateError(f"{self._name!r} is held for one block: ask for another hold()")
        self._is_entered = True
        self._lease = await self._acquire()
        return await self._lease.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._lease.__aexit__(*error)

    def _recreate_cm(self) -> Hold:
        return Hold(self._name, self._acquire)


class Leased:
    """What gives leases: one at a time by ``async with``, any number by :meth:`acquire` and :meth:`hold`."""

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

    async def acquire(self, timeout: Duration | None = None) -> Lease | None:
        """Take it.

        Args:
            timeout: seconds to wait for it; None: for ever; 0: try once, without joining the queue.

        Returns:
            The lease, or None if it did not come free in time.

        Raises:
            ArgumentError: ``timeout`` is negative or not a number.
            AcquireTimeout: fewer replicas than ``min_replicas`` acknowledged it in time.
            StateError: a key of it holds something else.
            LeaseLost: waiting for ever, and each reply came later than the lease is long.
            TimeoutError: the server gave no answer (a call under way is given a second at least, giving back one more).
        """
        return await self._hub.drive(self._acquire(None if timeout is None else seconds(timeout, "timeout")))

    def hold(self, timeout: Duration | None = None) -> Hold:
        """Hold it for one block; AcquireTimeout after ``timeout`` seconds (None: its ``wait``)."""
        limit = self._wait if timeout is None else seconds(timeout, "timeout")
        return Hold(self._name, lambda: self._acquired(self._acquire(limit), limit))

    async def __aenter__(self) -> Lease:
        task = asyncio.current_task()
        self._entered.check(task, self._name)
        lease = await self._acquired(self._acquire(self._wait), self._wait)
        await lease.__aenter__()
        self._entered.put(task, lease)
        return lease

    async def __aexit__(self, *error: Any) -> None:
        await self._entered.pop(asyncio.current_task(), self._name).__aexit__(*error)

    async def _acquired(self, flow: Flow[Lease | None], timeout: float | None) -> Lease:
        lease = await self._hub.drive(flow)
        if lease is None:
            raise AcquireTimeout(self._name, timeout or 0.0, what=self._kind)
        return lease

    def _acquire(self, timeout: float | None) -> Flow[Lease | None]:
        raise NotImplementedError

    def _lease(self, *grants: Grant) -> Lease:
        return Lease(self._hub, grants, self._terms, self._name)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self._name!r}>"
