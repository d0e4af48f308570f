"""What the asyncio monitor shares with the blocking one: everything that does not wait."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.durations import Duration, seconds
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError
from riskscale.health.checks import Check, Probe, of_breaker, of_bulkhead
from riskscale.health.report import CheckReport, HealthReport
from riskscale.typing import BreakerView, BulkheadView

LIVE, READY = "live", "ready"


class BaseHealthMonitor:
    """See :class:`riskscale.HealthMonitor`."""

    _blocking: bool

    def __init__(self, *, cache_seconds: Duration = 1.0) -> None:
        self._cache = seconds(cache_seconds, "cache_seconds")
        self._probes: dict[tuple[str, str], Probe] = {}
        self._monotonic = time.monotonic

    @property
    def groups(self) -> frozenset[str]:
        """Those that may be asked for: ``live``, ``ready``, and what else was named."""
        return frozenset({LIVE, READY}.union(*(probe.check.groups for probe in list(self._probes.values()))))

    def add_check(
        self,
        name: str,
        check: Callable[[], Any],
        *,
        critical: bool = True,
        timeout: Duration = 1.0,
        groups: Iterable[str] = (READY,),
    ) -> None:
        """Ask ``check`` from now on.

        Args:
            name: of what it looks at; shown in the report.
            check: called without arguments; what it gives is awaited in asyncio. It fails by raising, or by returning
                False or ``"fail"``; ``"warn"`` warns; an :class:`riskscale.Observation` says more; all else passes.
            critical: whether its failure is the service's; otherwise it is a warning.
            timeout: seconds it may take. Then it has failed, and is cancelled (a thread cannot be); until it has really
                ended it is not begun again.
            groups: those that it belongs to. What is in ``live`` must have no other service in it: a replica that is
                not live is restarted.

        Raises:
            ArgumentError: an argument is malformed, or there is a check of that name.
        """
        self._check_callable(check, "check")
        self._add("check", name, check, critical=critical, timeout=timeout, groups=groups)

    def add_redis(
        self,
        client: Any,
        *,
        name: str = "redis",
        critical: bool = True,
        timeout: Duration = 1.0,
        groups: Iterable[str] = (READY,),
    ) -> None:
        """PING the server from now on; of a cluster, one node.

        Args:
            client: a hub, or a client. A hub that was closed fails, so that a replica that shuts down gets no new work.
            critical: False where the service goes on without: then its loss is a warning.
            name, timeout, groups: as in :meth:`add_check`.

        Raises:
            ArgumentError: an argument is malformed, or ``groups`` has ``live``: restarting all replicas brings no
                server back.
        """
        groups = _groups(groups)
        if LIVE in groups:
            raise ArgumentError("groups", "must not have 'live': restarting the replicas brings no server back")
        ping = self._ping_of(client)
        self._add("check", name, ping, critical=critical, timeout=timeout, groups=groups, kind="datastore")

    def add_breaker(self, breaker: BreakerView, *, groups: Iterable[str] = (READY,)) -> None:
        """Warn from now on while it is anything but closed. It never fails: a replica whose dependency is broken is not
        broken, and neither are all the others that use it too.

        Raises:
            ArgumentError: it has no ``name`` and ``state``, or there is a breaker of that name.
        """
        _check_has(breaker, "breaker", "name", "state")
        self._add("breaker", breaker.name, of_breaker(breaker), critical=False, groups=groups)

    def add_bulkhead(
        self, bulkhead: BulkheadView, *, timeout: Duration = 1.0, groups: Iterable[str] = (READY,)
    ) -> None:
        """Warn from now on while as much runs and waits as may. A shared one is asked for that in one round trip.

        Raises:
            ArgumentError: it has no ``name`` and ``status()``, or there is a bulkhead of that name.
        """
        _check_has(bulkhead, "bulkhead", "name", "status")
        self._check_callable(bulkhead.status, "bulkhead")
        hub = getattr(bulkhead, "_hub", None)
        if isinstance(hub, BaseHub) and hub._blocking is not self._blocking:
            raise ArgumentError("bulkhead", "is of riskscale.sync, and would hold up the event loop")
        self._add("bulkhead", bulkhead.name, of_bulkhead(bulkhead), critical=False, timeout=timeout, groups=groups)

    def _ping_of(self, client: Any) -> Callable[[], Any]:
        raise NotImplementedError

    def _add(
        self,
        family: str,
        name: str,
        run: Callable[[], Any],
        *,
        critical: bool,
        groups: Iterable[str],
        timeout: Duration = 1.0,
        kind: str = "component",
    ) -> None:
        if (family, check_name(name, "name")) in self._probes:
            raise ArgumentError("name", f"must be new: there is a {family} {name!r}")
        if not isinstance(critical, bool):
            raise ArgumentError("critical", f"must be True or False, not {critical!r}")
        limit = seconds(timeout, "timeout")
        if not limit:
            raise ArgumentError("timeout", "must be above 0")
        check = Check(name=name, run=run, critical=critical, timeout=limit, groups=_groups(groups), kind=kind)
        self._probes[family, name] = Probe(check, self._cache)

    def _check_callable(self, check: object, argument: str) -> None:
        if not callable(check):
            kind = type(check).__name__  # a text might be a DSN
            raise ArgumentError(argument, f"must be a function, to be called without arguments, not {kind}")
        if self._blocking and inspect.iscoroutinefunction(check):
            raise ArgumentError(argument, "must not give something to await: that is for riskscale.HealthMonitor")

    def _of(self, group: str | None) -> list[Probe]:
        if group is None:
            return list(self._probes.values())
        known = sorted(self.groups)
        if group not in known:
            raise ArgumentError("group", f"must be one of {', '.join(known)}, not {group!r}")
        return [probe for probe in list(self._probes.values()) if group in probe.check.groups]

    def _report(self, group: str | None, found: Iterable[CheckReport]) -> HealthReport:
        return HealthReport.of(group, time.time(), tuple(found))

    def __repr__(self) -> str:
        names = ", ".join(name for _, name in self._probes)
        return f"<{type(self).__module__}.{type(self).__qualname__} of {names or 'nothing'}>"


def _groups(groups: Iterable[str]) -> frozenset[str]:
    if isinstance(groups, str) or not isinstance(groups, Iterable):
        raise ArgumentError("groups", "must be several names, not one text")
    found = frozenset(check_name(group, "groups") for group in groups)
    if not found:
        raise ArgumentError("groups", "must not be empty: nobody would ask for it")
    return found


def _check_has(thing: object, argument: str, *names: str) -> None:
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        raise ArgumentError(argument, f"must be a {argument}: {type(thing).__name__} has no {' and no '.join(missing)}")
