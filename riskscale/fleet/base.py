"""What the asyncio facade shares with the blocking one: everything but waiting."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.call import Finish, Flow
from riskscale._core.durations import MICRO, Duration, microseconds
from riskscale._core.nodes import new_node
from riskscale.errors import ArgumentError
from riskscale.fleet import calls
from riskscale.fleet.calls import PPM_PER_PERCENT, FleetKeys, Terms
from riskscale.fleet.outbox import Outbox
from riskscale.scaling.snapshot import measure

log = logging.getLogger("riskscale.fleet")

LONGEST_US = 3600 * MICRO
PATIENCE = 1.0
"""Seconds that an answer may take at least, however short the interval."""


class BaseFleetMetrics:
    """See :class:`riskscale.FleetMetrics`."""

    def __init__(
        self,
        hub: BaseHub,
        group: str,
        interval: Duration,
        window: Duration,
        ttl: Duration | None,
        cpu: Callable[[], Any] | None,
        queue_depth: Callable[[], Any] | None,
    ) -> None:
        self._group, self._base_hub = group, hub
        self._keys = FleetKeys.of(hub.key(group, argument="group"))
        interval_us = microseconds(interval, "interval", 1000, LONGEST_US // 3)
        ttl_us = 3 * interval_us if ttl is None else microseconds(ttl, "ttl", 1000, LONGEST_US)
        window_us = microseconds(window, "window", 1000, LONGEST_US)
        if ttl_us <= interval_us:
            raise ArgumentError("ttl", f"must be longer than the interval, {interval_us / MICRO:g} seconds")
        if window_us < interval_us:
            raise ArgumentError("window", f"must not be shorter than the interval, {interval_us / MICRO:g} seconds")
        self._gauges = {"cpu": cpu, "queue_depth": queue_depth}
        for name, gauge in self._gauges.items():
            if gauge is not None and not callable(gauge):
                raise ArgumentError(name, "must be callable")
        self._interval, self._terms = interval_us / MICRO, Terms(ttl_us, window_us)
        self._replica = new_node()
        self._outbox = Outbox(hub.monotonic, window_us / MICRO)
        self._complaints: dict[str, str] = {}

    @property
    def group(self) -> str:
        """The service whose replicas are meant."""
        return self._group

    @property
    def replica(self) -> str:
        """The name of this one: host, process, and a random part."""
        return self._replica

    def observe(self, latency: Duration, *, failed: bool = False) -> None:
        """One request that has ended: recorded here, told with the next report. From any thread.

        Args:
            latency: seconds that it took.
            failed: whether it counts for the failure rate.

        Raises:
            ArgumentError: ``latency`` is not a finite number of 0 or more.
        """
        self._outbox.note(latency, failed)

    def _tell(self, measured: dict[str, float | None], *, leaves: bool = False) -> Flow[None]:
        """Report, and first what could not be reported before."""
        cpu, queue = measured.get("cpu"), measured.get("queue_depth")
        cpu_ppm = None if cpu is None else min(round(cpu * PPM_PER_PERCENT), 10**9)
        self._outbox.close(cpu_ppm, None if queue is None else min(round(queue), 10**15), leaves=leaves)
        for batch, age_us in self._outbox.due():
            call = calls.report(self._keys, self._replica, self._terms, batch, age_us)
            yield Finish(call, budget=max(self._interval, PATIENCE), last=leaves)
            self._outbox.answered()

    def _measured(self, name: str, value: Any) -> float | None:
        measured = measure(value, name)
        self._complaints.pop(name, None)
        return measured

    def _complain(self, what: str, error: BaseException) -> None:
        """Once, until it is another error, or was in order."""
        kind = type(error).__name__
        if self._complaints.get(what) != kind:
            self._complaints[what] = kind
            log.warning("fleet %r: no %s from %s: %s (%s)", self._group, what, self._replica, error, kind)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self._group!r}>"
