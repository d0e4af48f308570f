"""Where a tenant's work belongs, for asyncio."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from riskscale._core.durations import Duration
from riskscale.errors import HubClosed
from riskscale.partition.base import ANSWER, BasePartitionRouter
from riskscale.partition.group import PartitionGroup


class PartitionRouter(BasePartitionRouter):
    """Which replica owns a tenant's partition, from a local table.

    Args:
        group: a :class:`riskscale.PartitionGroup`; it need not have been started: a router owns nothing.
        refresh: seconds (or timedelta) after which the table is compared with the server, in one round trip.

    Raises:
        ArgumentError: an argument is malformed.

    ::

        async with riskscale.PartitionRouter(group) as router:
            partition, owner, address, epoch = router.route("tenant-7")

    The table is one push behind the server; where a push is lost, or there are none (a bare client, a cluster), at
    most ``refresh`` and a round trip. While the server does not answer it stays as it was, and ``age``
    grows. A dead owner stays in it for at most one ttl and one heartbeat of the group. So whoever is called checks, by
    :meth:`riskscale.PartitionGroup.check`, and whoever is told WrongOwner calls :meth:`reread` and routes anew.
    """

    def __init__(self, group: PartitionGroup, *, refresh: Duration = 1.0) -> None:
        super().__init__(group, PartitionGroup, refresh)
        self._hub = group._hub
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> PartitionRouter:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Read the table, and follow it from now on. Again after that: nothing. Raises the client's errors."""
        if self._task is not None:
            return
        await self.reread()
        self._hub.check_open()  # it may close since: nobody would end what begins now
        self._table.wake = self._wake.set
        self._hub.mailbox.add(self._table)
        if self._hub.lasting:
            self._hub.mailbox.subscribe()
        self._hub._leases.add(self)
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def aclose(self) -> None:
        """Follow it no more."""
        task, self._task = self._task, None
        if task is not None:
            self._hub.mailbox.remove(self._table)
            task.cancel()
            await asyncio.wait({task})

    async def give_back(self) -> None:
        """:meth:`aclose`, by the hub that closes."""
        await self.aclose()

    async def reread(self) -> None:
        """Compare the table with the server now, in one round trip. Raises the client's errors."""
        sent = self._hub.monotonic()
        self._found(await self._hub.run(self._table.read()), sent)

    async def _follow(self) -> None:
        while self._task is asyncio.current_task():  # redis-py may swallow a cancellation, by asyncio.wait_for
            self._wake.clear()
            self._table.look()
            if self._table.pause() == 0:
                try:
                    async with asyncio.timeout(ANSWER):
                        await self.reread()
                except HubClosed:
                    return
                except Exception as error:
                    self._not_read(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._table.pause()):
                    await self._wake.wait()
