"""The health monitor for threads; see :mod:`riskscale.health.monitor`."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

from riskscale._core.durations import Duration
from riskscale.health.base import BaseHealthMonitor
from riskscale.health.checks import Check, Probe, Run
from riskscale.health.report import HealthReport, HealthStatus, Observation
from riskscale.sync.hub import hub_of


class HealthMonitor(BaseHealthMonitor):
    """Whether this replica is well, asked from any of its threads; see :class:`riskscale.HealthMonitor`.

    Each check that is not known from a moment ago runs in a thread of its own.
    """

    _blocking = True

    def __init__(self, *, cache_seconds: Duration = 1.0) -> None:
        super().__init__(cache_seconds=cache_seconds)
        self._mutex = threading.Lock()
        self._pid = os.getpid()

    def system_health(self, group: str | None = None) -> HealthReport:
        """See :meth:`riskscale.HealthMonitor.system_health`."""
        probes = self._of(group)
        self._enter_process()
        with self._mutex:
            now = self._monotonic()
            runs = [probe.current(now) or self._begin(probe, now) for probe in probes]
        for run in runs:
            run.handle.wait(max(0.0, run.deadline - self._monotonic()))
        with self._mutex:
            return self._report(group, [probe.answer(run) for probe, run in zip(probes, runs, strict=True)])

    def _begin(self, probe: Probe, now: float) -> Run:
        run = probe.begin(now)
        run.handle = threading.Event()
        name = f"riskscale-health-{probe.check.name}"
        try:
            threading.Thread(target=self._run, args=(probe, run), name=name, daemon=True).start()
        except RuntimeError as error:  # there are too many threads
            probe.end(run, now, None, error)
            run.handle.set()
        return run

    def _run(self, probe: Probe, run: Run) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = _result(probe.check)
        except BaseException as error:
            failure = error
        with self._mutex:
            probe.end(run, self._monotonic(), result, failure)
        run.handle.set()

    def _enter_process(self) -> None:
        if self._pid != os.getpid():  # a fork left behind the threads of its checks, and perhaps who held the mutex
            self._pid, self._mutex = os.getpid(), threading.Lock()
            for probe in self._probes.values():
                probe.run = None

    def _ping_of(self, client: Any) -> Callable[[], Any]:
        return hub_of(client).ping


def _result(check: Check) -> Any:
    result = check.run()
    if not inspect.isawaitable(result):
        return result
    if inspect.iscoroutine(result):
        result.close()
    return Observation(
        status=HealthStatus.FAIL, output="it gave something to await: that is for riskscale.HealthMonitor"
    )
