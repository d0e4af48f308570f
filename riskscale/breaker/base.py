"""What the asyncio breaker shares with the blocking one: everything that does not wait."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any

from riskscale._core.durations import Duration, microseconds
from riskscale._core.keys import check_name
from riskscale._core.meter import Meter
from riskscale.breaker.policy import MONTH_US, BreakerPolicy
from riskscale.breaker.replica import Permit, Replica
from riskscale.breaker.state import BreakerState, Transition
from riskscale.errors import ArgumentError, CircuitOpen, StateError

log = logging.getLogger("riskscale.breaker")

MetricsCallback = Callable[[str, str], Any]
MAX_REASON = 512


class BaseCircuitBreaker:
    """See :class:`riskscale.CircuitBreaker`."""

    def __init__(self, replica: Replica, metrics_callback: MetricsCallback | None, meter: Meter | None = None) -> None:
        if metrics_callback is not None and not callable(metrics_callback):
            raise ArgumentError("metrics_callback", "must be callable")
        self._replica = replica
        self._policy = replica.policy
        self._callback, self._meter = metrics_callback, meter
        self._is_counted = metrics_callback is not None or meter is not None
        self._has_failed_to_count = False
        self._counted_state = replica.state
        if meter is not None:
            replica.count(meter)
        if metrics_callback is not None:
            replica.listen(self, type(self)._count_change)

    @property
    def name(self) -> str:
        """What it was called; "default" unless it was."""
        return self._replica.name

    @property
    def policy(self) -> BreakerPolicy:
        """By which this replica decides."""
        return self._policy

    @property
    def state(self) -> BreakerState:
        """What this replica takes it to be in; an open one whose time is over is open until the next call tries."""
        return self._replica.state

    @property
    def remaining(self) -> float:
        """Seconds that are left of that state; 0: it is over, or has no end."""
        return self._replica.remaining

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.CircuitBreaker {self.name!r} {self.state}>"

    def _is_failure(self, error: BaseException | None) -> bool | None:
        """What an exception says of the dependency; None: nothing, as when the call was cut short."""
        if error is None:
            return False
        if not isinstance(error, Exception) or isinstance(error, self._policy.ignored):
            return None
        return isinstance(error, self._policy.failures)

    def _is_bad(self, result: Any) -> bool:
        judge = self._policy.failure_result
        return judge is not None and bool(judge(result))

    def _leave(self, permit: Permit, failed: bool | None) -> None:
        self._replica.leave(permit, failed)
        if self._is_counted and failed is not None:
            self._count("circuit_breaker_failure" if failed else "circuit_breaker_success")

    def _admit(self) -> Permit | None:
        try:
            return self._replica.enter()
        except CircuitOpen:
            self._reject()
            raise

    def _reject(self) -> None:
        if self._is_counted:
            self._count("circuit_breaker_rejected")

    def _count_change(self, transition: Transition | None) -> None:
        if transition is not None and transition.after is not self._counted_state:  # and not how all others followed
            self._counted_state = transition.after
            self._call_back("circuit_breaker_state_change")

    def _count(self, metric: str) -> None:
        if self._meter is not None:
            self._meter.increment(metric, breaker=self.name)
        self._call_back(metric)

    def _call_back(self, metric: str) -> None:
        if self._callback is not None:
            try:
                self._callback(metric, self.name)
            except Exception:
                if not self._has_failed_to_count:
                    self._has_failed_to_count = True
                    log.exception("metrics_callback of breaker %r failed", self.name)


class Entered:
    """The permits of ``with breaker:`` blocks, by the task or thread that entered; blocks may be nested."""

    def __init__(self) -> None:
        self._permits: dict[Hashable, list[Permit]] = {}

    def push(self, who: Hashable, permit: Permit) -> None:
        """Remember on entry."""
        self._permits.setdefault(who, []).append(permit)

    def pop(self, who: Hashable) -> Permit:
        """Forget on exit; StateError in another task or thread than the one that entered."""
        permits = self._permits.get(who)
        if permits is None:
            raise StateError("a breaker must be left in the task or thread where it was entered")
        permit = permits.pop()
        if not permits:
            del self._permits[who]
        return permit


def policy_of(
    failure_threshold: int | None, recovery_timeout_seconds: Duration | None, policy: BreakerPolicy | None
) -> BreakerPolicy:
    """The policy given, or that of the two thresholds."""
    if policy is not None:
        if failure_threshold is not None or recovery_timeout_seconds is not None:
            raise ArgumentError("policy", "excludes failure_threshold and recovery_timeout_seconds")
        if not isinstance(policy, BreakerPolicy):
            raise ArgumentError("policy", f"must be a BreakerPolicy, not {type(policy).__name__}")
        return policy
    for argument, value in (
        ("failure_threshold", failure_threshold),
        ("recovery_timeout_seconds", recovery_timeout_seconds),
    ):
        if value is None:
            raise ArgumentError(argument, "is missing (or a policy)")
    try:
        return BreakerPolicy(consecutive_failures=failure_threshold, open_seconds=recovery_timeout_seconds or 0)
    except ArgumentError as error:
        names = {"consecutive_failures": "failure_threshold", "open_seconds": "recovery_timeout_seconds"}
        raise ArgumentError(names[error.argument], error.rule) from None


def local_replica(name: str | None, policy: BreakerPolicy) -> Replica:
    """Of a breaker that nobody shares."""
    return Replica("default" if name is None else check_name(name, "name"), policy, "local")


def check_callable(func: object) -> None:
    """ArgumentError unless it is."""
    if not callable(func):
        raise ArgumentError("func", f"must be callable, not {type(func).__name__}")


def check_force(length: Duration, reason: str) -> int:
    """Its length in microseconds; ArgumentError."""
    check_reason(reason)
    return microseconds(length, "seconds", 1000, MONTH_US)


def check_reason(reason: str) -> None:
    """ArgumentError unless it is one."""
    if not isinstance(reason, str) or not reason.strip() or len(reason.encode()) > MAX_REASON:
        raise ArgumentError("reason", f"must be text, and at most {MAX_REASON} bytes in UTF-8")
