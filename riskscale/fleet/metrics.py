"""Fleet metrics for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from riskscale._core.cancels import cancels
from riskscale._core.durations import Duration
from riskscale._core.hub import hub_of
from riskscale.errors import HubClosed
from riskscale.fleet import calls
from riskscale.fleet.base import BaseFleetMetrics
from riskscale.fleet.snapshot import FleetSnapshot


class FleetMetrics(BaseFleetMetrics):
    """How the replicas of one service are, all together, as its autoscaler wants to know.

    Each replica notes its own requests and tells the server in one call an ``interval``; the server adds them up.

    ::

        async with riskscale.FleetMetrics(hub, "orders", cpu=riskscale.ProcessCpu()) as fleet:
            fleet.observe(0.012)                  # a request took 12 ms
            snapshot = await fleet.snapshot()     # of all replicas

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        group: the service whose replicas are meant.
        interval: seconds between two reports.
        window: seconds of which requests count, the same for all of a group; it moves on by tenths.
        ttl: seconds after its last report for which a replica counts as alive. None: three intervals.
        cpu: called for each report, gives percent of what this replica has, or None. None: not told.
        queue_depth: likewise the number of requests that wait in this replica alone.

    Raises:
        ArgumentError: one of these is malformed, ``ttl`` is no longer than ``interval``, or ``window`` is shorter.

    ``cpu`` and ``queue_depth`` may be coroutine functions; what they raise is logged, and the value is not told. What
    could not be told is told later, until it has left the window.
    """

    def __init__(
        self,
        client: Any,
        group: str,
        *,
        interval: Duration = 5,
        window: Duration = 60,
        ttl: Duration | None = None,
        cpu: Callable[[], Any] | None = None,
        queue_depth: Callable[[], Any] | None = None,
    ) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, group, interval, window, ttl, cpu, queue_depth)
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._ends = False

    async def __aenter__(self) -> FleetMetrics:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    def start(self) -> None:
        """Report from now on, at once and every ``interval``, until :meth:`leave` or the hub's end."""
        if self._task is None:
            self._hub.check_open()
            self._hub._leases.add(self)
            self._ends = False
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def report(self) -> None:
        """Report now, once. An error of the client is raised, and what was to be told is told later."""
        async with self._turn:
            await self._hub.drive(self._tell(await self._ask()))

    async def leave(self) -> None:
        """Report for the last time: from then on this replica is not alive. Nothing where it never started.

        An error of the client is logged: the replica then counts for ``ttl`` more.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._hub._leases.discard(self)
        self._ends = True  # a gauge may swallow the cancellation
        task.cancel()
        await asyncio.wait({task})
        try:
            async with self._turn:
                await self._hub.drive(self._tell({}, leaves=True))
        except Exception as error:
            self._complain("farewell", error)

    async def give_back(self) -> None:
        """As :meth:`leave`, on behalf of the hub, which closes."""
        await self.leave()

    async def snapshot(self) -> FleetSnapshot:
        """All replicas, as the server knows them now. Changes nothing; whoever asks need not report.

        Raises:
            StateError: a key of the fleet holds something else.
        """
        return await self._hub.run(calls.snapshot(self._keys, self._terms))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._ends:
            next_at = loop.time() + self._interval
            try:
                await self.report()
            except HubClosed:
                return
            except Exception as error:
                self._complain("report", error)
            else:
                self._complaints.pop("report", None)
            await asyncio.sleep(next_at - loop.time())

    async def _ask(self) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        for name, gauge in self._gauges.items():
            try:
                async with asyncio.timeout(self._interval):
                    value = gauge() if gauge else None
                    if inspect.isawaitable(value):
                        value = await value
                    values[name] = self._measured(name, value)
            except asyncio.CancelledError as error:
                if cancels():
                    raise
                self._complain(name, error)
            except Exception as error:
                self._complain(name, error)
        return values
