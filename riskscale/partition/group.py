"""A group of replicas that share out partitions, for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from riskscale._core.call import Call
from riskscale._core.cancels import cancels
from riskscale._core.durations import Duration
from riskscale._core.hub import Hub, hub_of
from riskscale.errors import HubClosed
from riskscale.partition.base import BasePartitionGroup, Heard
from riskscale.partition.calls import GroupInfo
from riskscale.partition.member import Member
from riskscale.partition.partitioner import Strategy


class PartitionGroup(BasePartitionGroup):
    """Replicas that share out ``num_partitions`` partitions: each has one owner at a time, and each owner its share.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client (then nothing is pushed: changes come with the beats).
        group: its name; any text.
        num_partitions: how many there are, 1 to 4,096; the same in all replicas as long as one is there.
        ttl: seconds (or timedelta) after which what a dead replica owned is free; it beats at a third of that.
        address: where this replica is reached, for routers; printable ASCII without spaces, 256 characters at most.
        on_assigned: called with a list of :class:`riskscale.Assignment`; may be a coroutine function.
        on_revoked: the same with those that go to others, or were lost. What it returns from is given back.
        drain: seconds it has for that; then they are given back all the same.
        strategy: how tenants are mapped to partitions; see :class:`riskscale.WorkloadPartitioner`.

    Raises:
        ArgumentError: an argument is malformed.

    ::

        async with riskscale.PartitionGroup(hub, "orders", 64, 10, on_assigned=start, on_revoked=stop) as group:
            ...

    The two are called one after the other, never at the same time, and what they raise is logged. A replica that cannot
    renew gives up a little before its lease ends: then every assignment is ``lost``, and ``on_revoked`` is called. It
    goes on asking, and is assigned partitions again, under newer epochs, when it is heard.
    """

    def __init__(
        self,
        client: Any,
        group: str,
        num_partitions: int,
        ttl: Duration,
        *,
        address: str = "",
        on_assigned: Heard | None = None,
        on_revoked: Heard | None = None,
        drain: Duration = 5.0,
        strategy: Strategy = "modulo",
    ) -> None:
        self._hub: Hub = hub_of(client)
        super().__init__(self._hub, group, num_partitions, ttl, address, on_assigned, on_revoked, drain, strategy)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> PartitionGroup:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Join; from now on what this replica owns is kept, told and given back in the background.

        Raises:
            ArgumentError: the group has another number of partitions, as long as somebody is in it.
            StateError: this replica is in the group already.
            The client's errors: the server is not to be had; nothing was joined, or is left within one ttl.
        """
        member = self._member = self._new_member()
        try:
            await self._hub.drive(self._joining(member))
        except BaseException:
            self._member = None
            raise
        member.wake = self._wake.set
        self._hub.mailbox.add(member)
        if self._hub.lasting:
            self._hub.mailbox.subscribe()
        self._hub._leases.add(self)
        self._task = asyncio.get_running_loop().create_task(self._run(member))

    async def aclose(self) -> None:
        """Leave: take nothing more, call ``on_revoked`` with what there is, give it back. Again after that: nothing.

        It takes ``drain`` seconds and two thirds of the ttl at the most, and a callback that is not done then is
        cancelled; what could not be given back is free one ttl after the last beat.
        """
        if self._member is not None and self._task is not None:
            self._member.leave()
            await asyncio.wait({self._task})

    async def give_back(self) -> None:
        """:meth:`aclose`, by the hub that closes; where it does not wait any more, nothing is left running."""
        try:
            await self.aclose()
        except asyncio.CancelledError:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait({self._task})
            raise

    async def inspect(self) -> GroupInfo:
        """Who is in the group and owns what, as the server sees it. Changes nothing."""
        return await self._hub.run(self._spec.calls.read(0))

    async def _run(self, member: Member) -> None:
        """Until it has left: one call at a time, one callback at a time, and an eye on the clock."""
        calls: set[asyncio.Task[None]] = set()
        tells: set[asyncio.Task[None]] = set()
        try:
            while not (member.is_done or self._hub.closed):
                self._wake.clear()
                if (call := member.send()) is not None:
                    self._begin(self._send(member, call), calls)
                if member.news and not tells:
                    self._begin(self._tell(member), tells)
                self._count(member)
                with suppress(TimeoutError):
                    async with asyncio.timeout(member.pause()):
                        await self._wake.wait()
            if calls:  # they must reach the server first
                await asyncio.wait(calls)
            patience = member.end()  # before it leaves: what a late reply brought is another's at once
            await self._leave(member)
            if member.news and not tells:
                self._begin(self._tell(member), tells)
            if tells:
                await asyncio.wait(tells, timeout=patience)
        finally:
            self._hub.mailbox.remove(member)
            self._member = self._task = None
            member.end()
            for task in (*calls, *tells):
                task.cancel()

    async def _send(self, member: Member, call: Call[Any]) -> None:
        try:
            async with asyncio.timeout(self._spec.heartbeat):
                reply: Any = await self._hub.ask(call)
        except HubClosed:
            member.failed(None)
        except Exception as error:
            member.failed(error)
        except BaseException:
            member.failed(None)
            raise
        else:
            member.answered(reply)

    async def _leave(self, member: Member) -> None:
        try:
            async with asyncio.timeout(self._spec.heartbeat):
                await self._hub.ask(self._spec.calls.leave(member.name))
        except Exception as error:
            self._not_left(error)

    async def _tell(self, member: Member) -> None:
        """The user of what was assigned and revoked."""
        while member.news:
            news = member.news.popleft()
            callback, items = self._callback(news)
            try:
                result = callback(items) if callback and items else None
                if inspect.isawaitable(result):
                    await result
            except asyncio.CancelledError:  # by the group's end, or of what the callback itself ended and awaited
                if cancels():
                    raise
                self._callback_failed(news)
            except Exception:
                self._callback_failed(news)
            if not news.assigned:
                member.drained(news.items)

    def _begin(self, work: Coroutine[Any, Any, None], running: set[asyncio.Task[None]]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            self._wake.set()

        task = asyncio.get_running_loop().create_task(work)
        running.add(task)
        task.add_done_callback(ended)
