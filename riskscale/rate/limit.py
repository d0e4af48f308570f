"""A limit: how many, per how long, counted how."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from riskscale._core.durations import MAX_WINDOW_US, MICRO, UNITS, Duration, integer, microseconds
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError

Algorithm = Literal["sliding_log", "sliding_window", "gcra", "fixed_window"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)

MAX_COUNT: Final[dict[Algorithm, int]] = {
    "sliding_log": 10**7,
    "sliding_window": 10**15,
    "gcra": 10**9,
    "fixed_window": 10**15,
}
MAX_FULL_US = 2**52

_WORDS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h", "day": "d", "week": "w"}
_TEXT = re.compile(r"\s*(?P<count>\d+)\s*/\s*(?P<times>\d+)?\s*(?P<unit>[a-z]+)(?:\s+burst\s*=\s*(?P<burst>\d+))?\s*\Z")
_STEPS = (
    (r"\s*\d+", "a whole number of requests"),
    (r"\s*/", "'/'"),
    (r"\s*(\d+\s*)?[a-z]+", "a period such as second, minute, hour, day, 10s, 500ms"),
    (r"\s+burst\s*=\s*\d+", "'burst=N' or the end"),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """``count`` units per ``per`` seconds.

    Attributes:
        count: units per window, 1 or more.
        per: length of the window in seconds (or a timedelta), 1 microsecond to 10 years.
        algorithm: ``sliding_log``: exact, 7 bytes a unit in the window. ``sliding_window``: 61 sub-buckets, never
            over, late by less than a sixtieth of the window. ``gcra``: a token bucket in 16 bytes, smooth, up to
            ``burst`` at once. ``fixed_window``: a window from the first hit on; up to twice the count across a border.
        burst: gcra: units that may pass at once (None: ``count``). The others take none.
        name: what the limit is called in keys and decisions; None: its period. A limit whose count changes keeps
            its state; two limits of one limiter need two names or periods.

    Raises:
        ArgumentError: one of these is out of range.
    """

    count: int
    per: Duration = field(kw_only=True)
    algorithm: Algorithm = field(default="sliding_log", kw_only=True)
    burst: int | None = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)
    window_us: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ArgumentError("algorithm", f"must be one of {', '.join(ALGORITHMS)}, not {self.algorithm!r}")
        integer(self.count, "count", 1, MAX_COUNT[self.algorithm])
        object.__setattr__(self, "window_us", microseconds(self.per, "per", 1, MAX_WINDOW_US))
        if self.name is not None:
            check_name(self.name, "name")
        if self.burst is not None and self.algorithm != "gcra":
            raise ArgumentError("burst", f"belongs to gcra; {self.algorithm} has none")
        if self.algorithm == "gcra":
            capacity = self.count if self.burst is None else integer(self.burst, "burst", 1, MAX_COUNT["gcra"])
            if capacity * -(-self.window_us // self.count) > MAX_FULL_US:
                raise ArgumentError("burst", "would take more than 142 years to refill at this rate")

    @property
    def capacity(self) -> int:
        """The most units that one request can ask for."""
        return self.count if self.burst is None else self.burst

    @property
    def label(self) -> str:
        """Its name, else its period; the part of the key that tells it from the limiter's other limits."""
        if self.name is not None:
            return self.name
        whole, rest = divmod(self.window_us, MICRO)
        return f"{self.window_us}us" if rest else f"{whole}s"

    def __str__(self) -> str:
        burst = "" if self.burst is None else f" burst={self.burst}"
        return f"{self.count}/{_period(self.window_us)}{burst}"

    @classmethod
    def parse(cls, text: str, *, algorithm: Algorithm | None = None, name: str | None = None) -> Limit:
        """Read ``"100/minute"``, ``"5/10s"``, ``"10/second burst=20"`` (gcra, unless ``algorithm`` says otherwise).

        Raises:
            ArgumentError: the text does not parse (it says where), or says something out of range.
        """
        if not isinstance(text, str):
            raise ArgumentError("text", f"must be text such as '100/minute', not {type(text).__name__}")
        match = _TEXT.match(text)
        if match is None:
            raise ArgumentError("text", _where(text))
        unit = match["unit"]
        unit = unit if unit in UNITS else _WORDS.get(unit.removesuffix("s"), "")
        if not unit:
            raise ArgumentError("text", f"{text!r} has no known unit at character {match.start('unit') + 1}")
        if len(match["count"] + (match["times"] or "") + (match["burst"] or "")) > 48:
            raise ArgumentError("text", "has a number that is too long")
        window_us = int(match["times"] or 1) * UNITS[unit]
        if not 1 <= window_us <= MAX_WINDOW_US:
            raise ArgumentError("text", f"{text!r} has a period that is not from 1 ms to 10 years")
        burst = int(match["burst"]) if match["burst"] else None
        kind: Algorithm = algorithm or ("sliding_log" if burst is None else "gcra")
        return cls(int(match["count"]), per=window_us / MICRO, algorithm=kind, burst=burst, name=name)

    @classmethod
    def parse_many(cls, text: str, *, algorithm: Algorithm | None = None) -> list[Limit]:
        """Read several, separated by semicolons: ``"10/second; 1000/hour"``."""
        return [cls.parse(part, algorithm=algorithm) for part in text.split(";")]


def as_limits(limits: Limit | Iterable[Limit], argument: str = "limits") -> tuple[Limit, ...]:
    """One limit or several, all of which a request must pass; ArgumentError naming ``argument`` otherwise."""
    several = (limits,) if isinstance(limits, Limit) else tuple(limits) if isinstance(limits, Iterable) else ()
    if not 1 <= len(several) <= 32 or not all(isinstance(limit, Limit) for limit in several):
        raise ArgumentError(argument, "must be a Limit, or 1 to 32 of them; Limit.parse() makes one of text")
    if len({(limit.label, limit.algorithm) for limit in several}) != len(several):
        raise ArgumentError(argument, "holds two of the same period and algorithm; give them names")
    return several


def _period(window_us: int) -> str:
    for unit in ("d", "h", "m", "s", "ms"):
        if window_us % UNITS[unit] == 0:
            times = window_us // UNITS[unit]
            return unit if times == 1 else f"{times}{unit}"
    return f"{window_us}us"


def _where(text: str) -> str:
    at = 0
    for pattern, wanted in _STEPS:
        match = re.compile(pattern).match(text, at)
        if match is None:
            return f"{text!r} does not parse at character {at + 1}: expected {wanted}"
        at = match.end()
    return f"{text!r} does not parse at character {at + 1}: expected the end"
