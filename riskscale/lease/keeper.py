"""The one renewer of a hub, for asyncio: a timer while there is a lease to look after."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

from riskscale._core.hub import Hub
from riskscale.errors import HubClosed
from riskscale.lease.book import Batch, Book, Watch

log = logging.getLogger("riskscale.lease")


class Keeper:
    """Renews leases in batches at a third of their ttl, and tells their holders in time when that fails."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._book = Book(hub.slot_of)
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    def watch(self, watch: Watch) -> None:
        """From now until it is forgotten or lost."""
        watch.told = self._told
        self._book.add(watch)
        self._hub.mailbox.add(watch)
        if self._hub.lasting:  # a bare client's leases hear at their next renewal
            self._hub.mailbox.subscribe()
        self._set_timer()

    def forget(self, watch: Watch) -> None:
        """It was released, or its holder knows that it is lost."""
        if watch in self._book.watches:
            self._book.forget(watch)
            self._hub.mailbox.remove(watch)
        if not self._book.watches:
            self._stop_timer()

    def changed(self, watch: Watch) -> None:
        """Its deadline may have moved."""
        self._book.changed(watch)
        self._set_timer()

    async def aclose(self) -> None:
        """With the hub, whose leases are released by then."""
        for task in tuple(self._calls):
            task.cancel()
            await asyncio.wait({task})
        self._stop_timer()

    def _set_timer(self) -> None:
        """To look in time; a lease that comes, and is due after the others, leaves the timer as it is."""
        loop, pause = asyncio.get_running_loop(), self._book.next_at() - self._hub.monotonic()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + pause:
                return
            self._stop_timer()
        if pause < math.inf:
            self._timer = loop.call_later(max(0.0, pause), self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        lost, batches = self._book.look(self._hub.monotonic())
        for watch in lost:
            self._lose(watch)
        for batch in batches:
            task = asyncio.get_running_loop().create_task(self._renew(batch))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        self._set_timer()

    async def _renew(self, batch: Batch) -> None:
        fences: Any = None
        try:
            async with asyncio.timeout(batch.within):
                fences = await self._hub.run(batch.call)
        except HubClosed:
            pass  # the hub closes, and gives them back
        except Exception as error:
            log.warning("%d leases could not be renewed: %s", len(batch.watches), type(error).__name__)
        finally:
            if fences is None:
                self._book.failed(batch, self._hub.monotonic())
        if fences is not None:
            for watch in self._book.answered(batch, fences):
                self._lose(watch)
        self._set_timer()

    def _told(self, watch: Watch) -> None:
        if watch in self._book.watches:
            self._book.forget(watch)
            self._lose(watch)

    def _lose(self, watch: Watch) -> None:
        watch.grant.lost = True
        self._hub.mailbox.remove(watch)
        lease = watch.lease()
        if lease is not None:
            lease._hear(cut=True)
