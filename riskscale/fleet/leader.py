"""What the asyncio controller shares with the blocking one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from riskscale._core.base import BaseHub
from riskscale._core.call import Call
from riskscale._core.durations import MICRO, Duration, microseconds, seconds
from riskscale._core.keys import check_name
from riskscale.breaker.state import BreakerState
from riskscale.errors import ArgumentError
from riskscale.fleet import turns
from riskscale.fleet.turns import Memory, ScalingOrder, ScalingPolicy, Turn
from riskscale.scaling.snapshot import MetricsSnapshot, ScalingAction
from riskscale.scaling.target import TargetTrackingPolicy

log = logging.getLogger("riskscale.fleet")

ELECTION = "scaling"
"""Its name; the tag is the group's: so people see it among the locks, and can depose a leader."""
LONGEST_US = 3600 * MICRO
RETRY = 1.0
"""Seconds at the most until a turn is tried again that failed."""


class NamedBreaker(Protocol):
    """A circuit breaker, asyncio or blocking."""

    @property
    def name(self) -> str | None: ...

    @property
    def state(self) -> BreakerState: ...


class BaseScalingController:
    """See :class:`riskscale.ScalingController`."""

    def __init__(
        self,
        hub: BaseHub,
        policy: ScalingPolicy | TargetTrackingPolicy,
        fleet: Any,
        apply: Callable[[ScalingOrder], Any],
        interval: Duration,
        cooldown: Duration,
        name: str | None,
        breakers: Iterable[NamedBreaker],
    ) -> None:
        if not callable(getattr(policy, "evaluate", None)):
            raise ArgumentError("policy", f"must have evaluate(snapshot), not be a {type(policy).__name__}")
        if not callable(getattr(fleet, "snapshot", None)):
            raise ArgumentError("fleet", f"must have snapshot(), not be a {type(fleet).__name__}")
        if not callable(apply):
            raise ArgumentError("apply", "must be callable")
        self._base_hub, self._policy, self._apply = hub, policy, apply
        self._interval = microseconds(interval, "interval", 1000, LONGEST_US) / MICRO
        self._cooldown = seconds(cooldown, "cooldown")
        self._name = check_name(getattr(fleet, "group", None) if name is None else name, "name")  # type: ignore[arg-type]
        self._keys = turns.keys_of(hub.key(self._name))
        self._breakers = tuple(breakers)
        if not all(hasattr(each, "state") and isinstance(each.name, str) for each in self._breakers):
            raise ArgumentError("breakers", "must be circuit breakers that have names")
        self._last: ScalingOrder | None = None

    @property
    def name(self) -> str:
        """What is scaled."""
        return self._name

    @property
    def last(self) -> ScalingOrder | None:
        """What this process ordered last, if it ever led."""
        return self._last

    def _begin(self, fence: int) -> Call[Turn]:
        return turns.begin(self._keys, self._name, fence)

    def _end(self, fence: int, memory: Memory) -> Call[None]:
        return turns.end(self._keys, self._name, fence, memory)

    def _decide(self, snapshot: MetricsSnapshot, turn: Turn, fence: int) -> tuple[ScalingOrder, Memory]:
        is_open = [str(each.name) for each in self._breakers if each.state is BreakerState.OPEN]
        if is_open:
            snapshot = replace(snapshot, open_breakers=(*snapshot.open_breakers, *is_open))
        return turns.decide(self._policy, snapshot, turn, self._cooldown, fence)

    def _note(self, order: ScalingOrder) -> bool:
        """Count it; whether there is something to do."""
        self._last = order
        meter, current = self._base_hub.meter, order.snapshot.current_replicas
        if meter is not None:
            meter.increment("scaling_decisions", group=self._name, action=order.action.value)
            if current is not None:
                meter.gauge("scaling_replicas", current, group=self._name)
            if order.replicas is not None:
                meter.gauge("scaling_replicas_wanted", order.replicas, group=self._name)
        if order.action is ScalingAction.NO_ACTION:
            return False
        log.info("%s of %r, term %d: %s", order.action.value, self._name, order.fence, order.reason)
        return True

    def _failed(self, error: Exception) -> float:
        """A turn came to nothing: seconds until it is tried again."""
        log.warning("no turn of the scaling of %r: %s (%s)", self._name, error, type(error).__name__)
        return min(self._interval, RETRY)

    def _not_applied(self, order: ScalingOrder, error: BaseException) -> None:
        log.error("%s of %r could not be applied", order.action.value, self._name, exc_info=error)
        if self._base_hub.meter is not None:
            self._base_hub.meter.increment("scaling_apply_failures", group=self._name)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self._name!r}>"
