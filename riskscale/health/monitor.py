"""The health monitor for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from riskscale._core.hub import hub_of
from riskscale.errors import StateError
from riskscale.health.base import BaseHealthMonitor
from riskscale.health.checks import Check, Probe, Run
from riskscale.health.report import HealthReport


class HealthMonitor(BaseHealthMonitor):
    """Whether this replica is well: its checks, asked all at once, in one report.

    ::

        monitor = HealthMonitor()
        monitor.add_redis(hub)
        monitor.add_breaker(payments)
        monitor.add_check("disk", free_space, groups=("live",))
        report = await monitor.system_health("ready")  # report.status, report.http_status, report.as_json()

    Args:
        cache_seconds: how long what a check found is told again before it is asked anew, so that probes cannot hammer
            what they look at; 0: only those who ask at the same time share an answer.

    Raises:
        ArgumentError: ``cache_seconds`` is malformed.

    There are always the groups ``live`` (restart the replica if it fails) and ``ready`` (send it no requests). A plain
    function as a check must be quick: it holds up the event loop.
    """

    _blocking = False
    _loop: asyncio.AbstractEventLoop | None = None

    async def system_health(self, group: str | None = None) -> HealthReport:
        """How the service is, as far as the checks of ``group`` know (None: all). It takes as long as the slowest of
        them, and at the most as long as the longest ``timeout``.

        Whoever asks while a check is under way waits for that one; a caller that is cancelled disturbs no other.

        Raises:
            ArgumentError: there is no such group.
            StateError: checks of it are under way in another event loop.
        """
        probes = self._of(group)
        self._enter_loop()
        now = self._monotonic()
        runs = [probe.current(now) or self._begin(probe, now) for probe in probes]
        for run in runs:
            if run.report is None and (left := run.deadline - self._monotonic()) > 0:
                await asyncio.wait((run.handle,), timeout=left)
        return self._report(group, [probe.answer(run) for probe, run in zip(probes, runs, strict=True)])

    def _begin(self, probe: Probe, now: float) -> Run:
        run = probe.begin(now)
        run.handle = asyncio.get_running_loop().create_task(_result(probe.check))
        run.handle.add_done_callback(partial(self._ended, probe, run))
        return run

    def _ended(self, probe: Probe, run: Run, task: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        probe.end(run, self._monotonic(), task.result() if error is None else None, error)

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        under_way = [probe for probe in self._probes.values() if probe.run and probe.run.report is None]
        if under_way and self._loop is not None and not self._loop.is_closed():
            raise StateError("this monitor's checks are under way in another event loop")
        for probe in under_way:  # they ended with their loop
            probe.run = None
        self._loop = loop

    def _ping_of(self, client: Any) -> Callable[[], Any]:
        return hub_of(client).ping


async def _result(check: Check) -> Any:
    async with asyncio.timeout(check.timeout):
        result = check.run()
        return await result if inspect.isawaitable(result) else result
