"""How much of its CPU a process uses."""

from __future__ import annotations

import os
import time
from pathlib import Path

from riskscale._core.durations import number

QUOTA = Path("/sys/fs/cgroup/cpu.max")


class ProcessCpu:
    """The CPU that this process used since the last call, in percent of what it may use: ``FleetMetrics(cpu=...)``.

    Args:
        cpus: processors that it may use, such as 0.5. None: the quota of its control group (version 2), else the
            processors that it may run on.

    Raises:
        ArgumentError: ``cpus`` is not from 0.001 to 4096.

    Where several processes share the quota, each counts its own part of it.
    """

    def __init__(self, cpus: float | None = None) -> None:
        self.cpus = number(cpus, "cpus", 0.001, 4096) if cpus is not None else available()
        self._last = time.process_time(), time.monotonic()

    def __call__(self) -> float | None:
        """Percent; None where no time has passed."""
        used, at = self._last
        self._last = now_used, now = time.process_time(), time.monotonic()
        return 100 * (now_used - used) / (now - at) / self.cpus if now > at else None


def available(quota: Path = QUOTA) -> float:
    """Processors of the control group's quota, else those that this process may run on."""
    try:
        most, period = quota.read_text().split()
        return int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        pass
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
