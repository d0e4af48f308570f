"""Checks: what is registered, how each is known, and what its end says. No waiting."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from riskscale.health.report import CheckReport, HealthStatus, Observation
from riskscale.typing import BreakerView, BulkheadView

log = logging.getLogger("riskscale.health")

PASS, WARN, FAIL = HealthStatus
CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One that was registered."""

    name: str
    run: Callable[[], Any]
    critical: bool
    timeout: float
    groups: frozenset[str]
    kind: str = "component"

    def found(self, result: Any, seconds: float) -> CheckReport:
        """What it returned, after so long."""
        if isinstance(result, Observation):
            return self._report(result, seconds)
        if result is False:
            return self._report(Observation(status=FAIL, output="it returned False"), seconds)
        if isinstance(result, str) and result in list(HealthStatus):
            return self._report(Observation(status=HealthStatus(result)), seconds)
        return self._report(Observation(), seconds)

    def failed(self, error: BaseException, seconds: float) -> CheckReport:
        """What it raised, after so long. By the class's name: an exception's text may hold a DSN."""
        return self._report(Observation(status=FAIL, output=type(error).__name__), seconds)

    def late(self) -> CheckReport:
        """It has not answered in its time."""
        said = f"no answer within {self.timeout:g} s"
        return self._report(Observation(status=FAIL, output=said), self.timeout)

    def _report(self, seen: Observation, seconds: float) -> CheckReport:
        measurement, value, unit = seen.measurement, seen.value, seen.unit
        if value is None:
            measurement, value, unit = "responseTime", round(seconds * 1000, 3), "ms"
        return CheckReport(
            name=self.name,
            kind=self.kind,
            status=seen.status,
            critical=self.critical,
            at=time.time(),
            measurement=measurement,
            value=value,
            unit=unit,
            output=seen.output,
        )


class Run:
    """One run of a check, which any number of callers wait for.

    Args:
        began: on the monotonic clock.
        deadline: when it is late.
    """

    __slots__ = ("began", "deadline", "ended", "handle", "report")

    def __init__(self, began: float, deadline: float) -> None:
        self.began, self.deadline, self.ended = began, deadline, began
        self.handle: Any = None
        """What to wait for: a task, or an event."""
        self.report: CheckReport | None = None


class Probe:
    """A check, and its last run: one at a time, also where it does not end."""

    def __init__(self, check: Check, cache: float) -> None:
        self.check = check
        self.run: Run | None = None
        self._cache = cache
        self._told = PASS

    def current(self, now: float) -> Run | None:
        """The run whose end is the answer; None: one must begin."""
        run = self.run
        return None if run is None or (run.report is not None and now - run.ended >= self._cache) else run

    def begin(self, now: float) -> Run:
        """It becomes the current one."""
        self.run = Run(now, now + self.check.timeout)
        return self.run

    def end(self, run: Run, now: float, result: Any, error: BaseException | None) -> None:
        """It has returned or raised. One that ends when it is late was late, whatever it found."""
        check, took = self.check, now - run.began
        run.ended = now
        if now > run.deadline:
            run.report = check.late()
        else:
            run.report = check.found(result, took) if error is None else check.failed(error, took)

    def answer(self, run: Run) -> CheckReport:
        """What those who waited for it are told."""
        report = run.report or self.check.late()
        before, self._told = self._told, report.status
        if before is not report.status:
            level = logging.INFO if report.status is PASS else logging.WARNING
            log.log(level, "health check %r: %s -> %s (%r)", report.name, before, report.status, report.output)
        return report


def of_breaker(breaker: BreakerView) -> Callable[[], Observation]:
    """Closed passes; anything else warns. It never fails: where a breaker is open, all replicas' are, and the service
    would be gone together with one dependency."""

    def check() -> Observation:
        state = str(breaker.state)
        output = "" if state == CLOSED else f"the breaker is {state}"
        return Observation(status=WARN if output else PASS, output=output, measurement="state", value=state)

    return check


def of_bulkhead(bulkhead: BulkheadView) -> Callable[[], Any]:
    """A full one warns."""

    def seen(status: Any) -> Observation:
        places = {
            "running": status.running,
            "waiting": status.waiting,
            "maxConcurrent": status.max_concurrent,
            "maxQueued": status.max_queued,
        }
        is_full = status.running >= status.max_concurrent and status.waiting >= status.max_queued
        output = "the bulkhead is full" if is_full else ""
        return Observation(status=WARN if is_full else PASS, output=output, measurement="places", value=places)

    async def waited(status: Awaitable[Any]) -> Observation:
        return seen(await status)

    def check() -> Any:
        status = bulkhead.status()
        return waited(status) if hasattr(status, "__await__") else seen(status)

    return check
