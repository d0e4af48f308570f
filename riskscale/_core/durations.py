"""Durations and numbers: checked at the door, integer microseconds inside."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from riskscale.errors import ArgumentError

Duration = float | timedelta
"""Seconds, or a timedelta."""

MICRO = 1_000_000
MAX_INT = 2**53 - 1
MAX_WINDOW_US = 315_576_000_000_000
MAX_TTL_US = 31_622_400_000_000
MAX_NOW_US = 2**52
UNITS = {"ms": 1000, "s": MICRO, "m": 60 * MICRO, "h": 3600 * MICRO, "d": 86400 * MICRO, "w": 604800 * MICRO}


def seconds(value: Duration, argument: str) -> float:
    """A length of time in seconds, 0 or more and finite; ArgumentError otherwise."""
    given = _plain(value, argument)
    if not math.isfinite(given) or given < 0:
        raise ArgumentError(argument, f"must be 0 or more and finite, not {given}")
    return float(given)


def microseconds(value: Duration, argument: str, low: int, high: int) -> int:
    """The same as integer microseconds from ``low`` to ``high``, rounded to the nearest."""
    given = _plain(value, argument)
    if not math.isfinite(given) or not low <= round(given * MICRO) <= high:
        least, most = (f"{bound / MICRO:.15g}" for bound in (low, high))
        raise ArgumentError(argument, f"must be from {least} to {most} seconds, not {given}")
    return round(given * MICRO)


def integer(value: int, argument: str, low: int, high: int = MAX_INT) -> int:
    """A whole number from ``low`` to ``high``; ArgumentError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentError(argument, f"must be a whole number, not {value!r}")
    if not low <= value <= high:
        raise ArgumentError(argument, f"must be from {low} to {high}, not {value}")
    return value


def number(value: float, argument: str, low: float, high: float) -> float:
    """A number from ``low`` to ``high``; ArgumentError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(argument, f"must be a number, not {value!r}")
    if not low <= value <= high:
        raise ArgumentError(argument, f"must be from {low:g} to {high:g}, not {value}")
    return value


def length(text: str, argument: str) -> float:
    """The seconds of ``"10m"``, ``"1h30m"``, ``"500ms"``; ArgumentError otherwise."""
    if not re.fullmatch(r"(\d{1,9}(ms|[smhdw]))+", text, re.ASCII):
        raise ArgumentError(argument, f"must be a length of time such as 90s, 10m or 1h30m, not {text!r}")
    return sum(int(many) * UNITS[unit] for many, unit in re.findall(r"(\d+)(ms|[smhdw])", text)) / MICRO


def _plain(value: Duration, argument: str) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(argument, f"must be seconds or a timedelta, not {type(value).__name__}")
    return value
