"""When a breaker opens, for how long, and how it closes again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from riskscale._core.durations import MICRO, Duration, integer, microseconds, number
from riskscale.errors import ArgumentError

PARTS: Final = 1_000_000
DAY_US: Final = 86_400 * MICRO
MONTH_US: Final = 31 * DAY_US
MAX_CALLS: Final = 10**9
MAX_PERMITS: Final = 1000
MAX_NODES: Final = 10_000
EXAMPLE: Final = "give consecutive_failures, failure_rate or slow_call_rate"


class Rules(NamedTuple):
    """The numbers by which a breaker decides, in the order in which scripts take them. 0 for a rule: there is none.

    Lengths in microseconds, rates in parts of a million, growth in percent.
    """

    consecutive: int
    minimum: int
    failure_ppm: int
    slow_ppm: int
    slow_us: int
    quorum: int
    window_us: int
    open_us: int
    growth_pct: int
    max_open_us: int
    permits: int
    half_open_us: int
    probe_us: int

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self._asdict().items())


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens, for how long, and how it closes again. At least one of the first three is needed.

    Attributes:
        consecutive_failures: so many failures in a row, of one replica, open it.
        failure_rate: such a part (0 to 1) of the window's calls that failed opens it.
        slow_call_rate: such a part of the window's calls that took ``slow_call_seconds`` or longer opens it.
        slow_call_seconds: from when on a call is slow.
        minimum_calls: before the window has as many, no rate opens it.
        window_seconds: the rates are those of the last so many seconds, in tenths: an outcome counts for nine to ten
            of them. 60 unless ``window_calls`` is given.
        window_calls: the rates are those of the last so many calls, exactly; not for a breaker that replicas share.
        open_seconds: how long it stays open; up to a day.
        open_growth: how many times longer each time that it opens again without having been closed (1 to 10).
        max_open_seconds: where that growth ends; None: at a day.
        jitter: up to such a part (0 to 1) is added at random to how long it stays open.
        permits: calls that may try when that time is over. It closes when as many have ended and not too many of them
            failed or were slow by the same rates (without a failure rate: none failed), and else opens again.
        half_open_seconds: after which it opens again if they have not ended; None: it waits.
        probe_seconds: lease of a permit: whoever does not come back by then may lose it to another.
        failures: exceptions that count as failures; others mean that the dependency has answered.
        ignored: exceptions that count as nothing, though they be among ``failures``.
        failure_result: says of a call's result whether it is a failure.
        quorum: replicas, as many of which must themselves find the dependency bad before it opens for all. One that
            is alone with it opens for itself only.
        refresh_seconds: how often a replica reports what it saw, and hears what holds; and after how long at the most
            whoever finds all permits taken may come again.
        flush_failures: so many failures that were not reported yet are reported at once.

    Raises:
        ArgumentError: one of these is out of range, or it could never open.
    """

    consecutive_failures: int | None = None
    failure_rate: float | None = None
    slow_call_rate: float | None = None
    slow_call_seconds: Duration | None = None
    minimum_calls: int = 10
    window_seconds: Duration | None = None
    window_calls: int | None = None
    open_seconds: Duration = 30
    open_growth: float = 1.0
    max_open_seconds: Duration | None = None
    jitter: float = 0.0
    permits: int = 1
    half_open_seconds: Duration | None = None
    probe_seconds: Duration = 30
    failures: tuple[type[BaseException], ...] = (Exception,)
    ignored: tuple[type[BaseException], ...] = ()
    failure_result: Callable[[Any], bool] | None = None
    quorum: int = 1
    refresh_seconds: Duration = 1
    flush_failures: int = 5
    rules: Rules = field(init=False, repr=False, compare=False)
    refresh_us: int = field(init=False, repr=False, compare=False)
    jitter_pm: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_exceptions()
        window = 60 if self.window_seconds is None else self.window_seconds
        slow_us = _length(self.slow_call_seconds, "slow_call_seconds", 1, DAY_US)
        open_us = microseconds(self.open_seconds, "open_seconds", 1000, DAY_US)
        rules = Rules(
            consecutive=0 if self.consecutive_failures is None else _count(self, "consecutive_failures"),
            minimum=_count(self, "minimum_calls"),
            failure_ppm=_rate(self.failure_rate, "failure_rate"),
            slow_ppm=_rate(self.slow_call_rate, "slow_call_rate"),
            slow_us=slow_us,
            quorum=integer(self.quorum, "quorum", 1, MAX_NODES),
            window_us=microseconds(window, "window_seconds", 1000, DAY_US),
            open_us=open_us,
            growth_pct=round(number(self.open_growth, "open_growth", 1, 10) * 100),
            max_open_us=_length(self.max_open_seconds, "max_open_seconds", open_us, DAY_US) or DAY_US,
            permits=integer(self.permits, "permits", 1, MAX_PERMITS),
            half_open_us=_length(self.half_open_seconds, "half_open_seconds", 1000, DAY_US),
            probe_us=microseconds(self.probe_seconds, "probe_seconds", 1000, DAY_US),
        )
        self._check_that_it_can_trip(rules)
        integer(self.flush_failures, "flush_failures", 1, MAX_CALLS)
        for name, value in (
            ("rules", rules),
            ("refresh_us", microseconds(self.refresh_seconds, "refresh_seconds", 10_000, 3600 * MICRO)),
            ("jitter_pm", round(number(self.jitter, "jitter", 0, 1) * 1000)),
        ):
            object.__setattr__(self, name, value)

    def _check_exceptions(self) -> None:
        for name in ("failures", "ignored"):
            kinds = getattr(self, name)
            if not isinstance(kinds, tuple) or not all(isinstance(k, type) and issubclass(k, Exception) for k in kinds):
                raise ArgumentError(name, "must be a tuple of kinds of Exception (others cut a call short)")
        if self.failure_result is not None and not callable(self.failure_result):
            raise ArgumentError("failure_result", "must be callable")
        try:
            hash(self.failure_result)
        except TypeError:
            raise ArgumentError("failure_result", "must be hashable: a hub has one replica of each policy") from None

    def _check_that_it_can_trip(self, rules: Rules) -> None:
        by_rate = rules.failure_ppm or rules.slow_ppm
        if not rules.consecutive and not by_rate:
            raise ArgumentError("policy", f"can never trip: {EXAMPLE}")
        if bool(rules.slow_ppm) != bool(rules.slow_us):
            missing = "slow_call_seconds" if rules.slow_ppm else "slow_call_rate"
            raise ArgumentError(missing, "is missing: a slow call has a length and a rate")
        if self.window_calls is not None:
            if self.window_seconds is not None:
                raise ArgumentError("window_calls", "excludes window_seconds")
            size = integer(self.window_calls, "window_calls", 1, 1_000_000)
            if by_rate and rules.minimum > size:
                raise ArgumentError("minimum_calls", f"of {rules.minimum} never come to be in a window of {size} calls")
        can_fail = self.failure_result is not None or any(not issubclass(kind, self.ignored) for kind in self.failures)
        if not can_fail and not rules.slow_ppm:
            raise ArgumentError("ignored", "leaves no exception that counts: it can never trip")


def _count(policy: BreakerPolicy, name: str) -> int:
    return integer(getattr(policy, name), name, 1, MAX_CALLS)


def _length(value: Duration | None, argument: str, low: int, high: int) -> int:
    return 0 if value is None else microseconds(value, argument, low, high)


def _rate(value: float | None, argument: str) -> int:
    """In parts of a million, 1 at the least; 0 where there is none."""
    if value is None:
        return 0
    if number(value, argument, 0, 1) == 0:
        raise ArgumentError(argument, "must be above 0")
    return max(1, round(value * PARTS))
