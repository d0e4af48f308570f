"""What goes between the shared breakers of a hub and the server, for asyncio: one task while there is a breaker."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from riskscale._core.call import Call
from riskscale._core.durations import MICRO
from riskscale._core.hub import Hub
from riskscale.breaker import calls
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.replica import Permit
from riskscale.breaker.replicas import Replicas
from riskscale.breaker.shared import ANSWER_US, SharedReplica
from riskscale.breaker.state import BreakerInfo, BreakerState
from riskscale.errors import HubClosed


class Link:
    """One breaker's way to the server."""

    def __init__(self, reporter: Reporter, replica: SharedReplica) -> None:
        self.replica = replica
        self._reporter, self._hub = reporter, reporter.hub

    def start(self) -> None:
        """Report and hear in the background from now on, where there is one; StateError where it cannot."""
        self._reporter.check_home()
        self._reporter.start()

    async def refresh(self) -> None:
        """Before a call, where the replica knows too little to decide it: at the start; without a background, every so
        often."""
        self._reporter.start()
        if not self._reporter.is_home:
            self.replica.strand()
        elif self.replica.is_stale:
            await asyncio.wait({self._reporter.begin(self.replica)})

    async def flush(self) -> None:
        """Tell what is urgent, where there is no background."""
        if not self._hub.lasting:
            await self.refresh()

    async def ask(self) -> Permit | None:
        """For a permit that the replica cannot give; None where there was no answer.

        Raises:
            CircuitOpen: the answer is no.
        """
        replica = self.replica
        token, call = replica.probe()
        try:
            async with asyncio.timeout(ANSWER_US / MICRO):
                asked = await self._hub.run(call)
        except Exception as error:
            replica.not_probed(token, error)
            return None
        except BaseException:
            replica.not_probed(token, None)
            raise
        return replica.probed(token, asked)

    async def read(self) -> BreakerInfo:
        """What the server sees."""
        return await self._hub.run(calls.read(self.replica.keys, self.replica.name))

    async def force(self, state: BreakerState, length_us: int, reason: str) -> None:
        """Change it by hand, for all."""
        self.start()
        self.replica.told(await self._hub.run(self.replica.forcing(state, length_us, reason)))


class Reporter(Replicas):
    """Reports every so often and when it is urgent, and passes on what the subscription hears."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.hub = hub
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._reports: dict[SharedReplica, asyncio.Task[None]] = {}

    def link(self, name: str | None, policy: BreakerPolicy) -> Link:
        """To the breaker of that name."""
        return Link(self, self.replica(name, policy))

    @property
    def is_home(self) -> bool:
        """Not in a later event loop either."""
        return super().is_home and (self._task is None or self._task.get_loop().is_running())

    def start(self) -> None:
        """Begin, unless it has, or nothing may outlive a call."""
        if self.hub._closing:
            self.end()
        elif self.hub.lasting and self._task is None and self.is_home:
            self.hub._leases.add(self)
            self.hub.mailbox.subscribe()
            self._task = asyncio.get_running_loop().create_task(self._run())

    def begin(self, replica: SharedReplica) -> asyncio.Task[None]:
        """A report, or the one under way."""
        task = self._reports.get(replica)
        if task is None:
            task = self._reports[replica] = asyncio.get_running_loop().create_task(self._report(replica))
        return task

    async def give_back(self) -> None:
        """The hub closes: what was not reported yet."""
        if self._task is not None:
            self._task.cancel()
        if self._reports:
            await asyncio.wait(self._reports.values())
        for replica in self:
            while replica.has_news and (call := replica.report()):
                if not await self._send(replica, call, last=True):
                    break

    async def aclose(self) -> None:
        """With the hub."""
        for task in (self._task, *self._reports.values()):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        self.end()

    def _enlist(self, replica: SharedReplica) -> None:
        self.hub.mailbox.add(replica)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            for replica in self:
                replica.look()
                if replica.due_in <= 0:
                    self.begin(replica)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pause()):
                    await self._wake.wait()

    async def _report(self, replica: SharedReplica) -> None:
        try:
            if call := replica.report():
                await self._send(replica, call)
        finally:
            del self._reports[replica]
            self._wake.set()

    async def _send(self, replica: SharedReplica, call: Call[calls.Snapshot], *, last: bool = False) -> bool:
        """Whether there was a reply."""
        try:
            async with asyncio.timeout(ANSWER_US / MICRO):
                snapshot = await (self.hub.ask(call) if last else self.hub.run(call))
        except HubClosed:
            replica.failed(None)
        except Exception as error:
            replica.failed(error)
        except BaseException:
            replica.failed(None)
            raise
        else:
            replica.reported(snapshot)
            return True
        return False
