"""Limits as an operator writes them: ``10/second burst=20; 1000/hour``.

The text says how many, and per how long. How that is counted is the program's affair, so the default says it.
"""

from __future__ import annotations

from collections.abc import Sequence

from riskscale.errors import ArgumentError
from riskscale.rate.limit import Limit, as_limits

LONGEST = 1024


def written(text: str) -> list[Limit]:
    """What stands there, not yet counted in any way but gcra where there is a burst.

    Raises:
        ArgumentError: it does not parse (it says where), is longer than 1024 characters, or out of range.
    """
    if not isinstance(text, str) or len(text) > LONGEST or not text.isascii() or not text.isprintable():
        raise ArgumentError("limits", f"must be up to {LONGEST} printable characters, such as '500/minute'")
    parts = text.split(";")
    return [Limit.parse(part, algorithm=None if "burst" in part else "fixed_window") for part in parts]


def understood(text: str, default: Sequence[Limit]) -> tuple[Limit, ...]:
    """The limits that a program with this default takes it for.

    Each is counted like the default's limit of the same period, and keeps its name, so that what was used goes on
    counting; where there is none of that period, like the first. One for one, it keeps the name in any case. A burst
    makes it gcra.

    Raises:
        ArgumentError: as :func:`written`, or these are no limits that one limiter can have.
    """
    found, left = [], list(default)
    limits = written(text)
    for limit in limits:
        like = next((each for each in left if each.window_us == limit.window_us), None)
        if like is not None:
            left.remove(like)
        name = like.name if like is not None else default[0].name if len(limits) == len(default) == 1 else None
        algorithm = "gcra" if limit.burst is not None else (like or default[0]).algorithm
        found.append(Limit(limit.count, per=limit.per, algorithm=algorithm, burst=limit.burst, name=name))
    return as_limits(found)
