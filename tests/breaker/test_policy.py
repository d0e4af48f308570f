"""What a policy refuses, and what it makes of its numbers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from riskscale import ArgumentError, BreakerPolicy, CircuitBreaker


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("consecutive_failures", {"consecutive_failures": 0}),
        ("consecutive_failures", {"consecutive_failures": -1}),
        ("consecutive_failures", {"consecutive_failures": True}),
        ("consecutive_failures", {"consecutive_failures": 2.5}),
        ("failure_rate", {"failure_rate": 0}),
        ("failure_rate", {"failure_rate": 1.01}),
        ("failure_rate", {"failure_rate": float("nan")}),
        ("failure_rate", {"failure_rate": "0.5"}),
        ("slow_call_rate", {"slow_call_rate": -0.1, "slow_call_seconds": 1}),
        ("slow_call_seconds", {"slow_call_rate": 0.5}),
        ("slow_call_rate", {"failure_rate": 0.5, "slow_call_seconds": 1}),
        ("minimum_calls", {"failure_rate": 0.5, "minimum_calls": 0}),
        ("minimum_calls", {"failure_rate": 0.5, "minimum_calls": 101, "window_calls": 100}),
        ("window_calls", {"failure_rate": 0.5, "window_calls": 0}),
        ("window_calls", {"failure_rate": 0.5, "window_calls": 10, "window_seconds": 10}),
        ("window_seconds", {"failure_rate": 0.5, "window_seconds": 0}),
        ("policy", {}),
        ("policy", {"minimum_calls": 5}),
        ("open_seconds", {"failure_rate": 0.5, "open_seconds": 0}),
        ("open_seconds", {"failure_rate": 0.5, "open_seconds": timedelta(days=2)}),
        ("open_growth", {"failure_rate": 0.5, "open_growth": 0.5}),
        ("max_open_seconds", {"failure_rate": 0.5, "open_seconds": 10, "max_open_seconds": 5}),
        ("jitter", {"failure_rate": 0.5, "jitter": 2}),
        ("permits", {"failure_rate": 0.5, "permits": 0}),
        ("half_open_seconds", {"failure_rate": 0.5, "half_open_seconds": 0}),
        ("probe_seconds", {"failure_rate": 0.5, "probe_seconds": -1}),
        ("failures", {"failure_rate": 0.5, "failures": [OSError]}),
        ("failures", {"failure_rate": 0.5, "failures": (asyncio.CancelledError,)}),
        ("ignored", {"failure_rate": 0.5, "ignored": ("OSError",)}),
        ("ignored", {"failure_rate": 0.5, "failures": (OSError,), "ignored": (Exception,)}),
        ("failure_result", {"failure_rate": 0.5, "failure_result": True}),
        ("quorum", {"failure_rate": 0.5, "quorum": 0}),
        ("refresh_seconds", {"failure_rate": 0.5, "refresh_seconds": 0}),
        ("flush_failures", {"failure_rate": 0.5, "flush_failures": 0}),
    ],
)
def test_bad_arguments(argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        BreakerPolicy(**options)
    assert caught.value.argument == argument


def test_what_can_never_trip_says_so() -> None:
    for options in ({}, {"failure_rate": 0.5, "failures": ()}):
        with pytest.raises(ArgumentError, match="can never trip"):
            BreakerPolicy(**options)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="never come to be"):
        BreakerPolicy(slow_call_rate=0.5, slow_call_seconds=1, minimum_calls=11, window_calls=10)
    BreakerPolicy(consecutive_failures=3, minimum_calls=11, window_calls=10)  # the minimum is of the rates
    BreakerPolicy(slow_call_rate=1, slow_call_seconds=1, failures=())
    BreakerPolicy(failure_rate=1, failures=(), failure_result=bool)


@pytest.mark.parametrize(
    ("argument", "args", "options"),
    [
        ("failure_threshold", (0, 30), {}),
        ("failure_threshold", (), {}),
        ("recovery_timeout_seconds", (3,), {}),
        ("recovery_timeout_seconds", (3, -1), {}),
        ("recovery_timeout_seconds", (3, 0), {}),
        ("policy", (3,), {"policy": BreakerPolicy(consecutive_failures=3)}),
        ("policy", (), {"policy": 3}),
        ("name", (3, 30, ""), {}),
        ("metrics_callback", (3, 30, "x", 5), {}),
    ],
)
def test_bad_arguments_of_a_breaker(argument: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        CircuitBreaker(*args, **options)
    assert caught.value.argument == argument


def test_numbers() -> None:
    rules = BreakerPolicy(
        failure_rate=1 / 3, slow_call_rate=1, slow_call_seconds=0.25, open_seconds=2, open_growth=1.5, permits=3
    ).rules
    assert rules.failure_ppm == 333_333 and rules.slow_ppm == 1_000_000 and rules.slow_us == 250_000
    assert rules.open_us == 2_000_000 and rules.growth_pct == 150 and rules.consecutive == 0
    assert "failure_ppm=333333" in str(rules)


def test_a_judge_must_be_hashable() -> None:
    class Judge:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, result: object) -> bool:
            return result is None

    with pytest.raises(ArgumentError) as caught:
        BreakerPolicy(consecutive_failures=1, failure_result=Judge())
    assert caught.value.argument == "failure_result"
