"""Functions that callers give to be called."""

from __future__ import annotations

import inspect

from riskscale.errors import ArgumentError


def refuse_coroutine_function(argument: str, function: object, instead: str) -> None:
    """ArgumentError where a thread could only make a coroutine of it; ``instead`` is the class that awaits."""
    if inspect.iscoroutinefunction(function):
        raise ArgumentError(argument, f"is a coroutine function; use riskscale.{instead}")
