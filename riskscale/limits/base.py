"""What the sources for asyncio share with the blocking ones: everything that does not wait."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from riskscale._core.base import BaseHub
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError
from riskscale.limits.calls import Found, LimitsCalls
from riskscale.limits.known import Known
from riskscale.limits.text import understood
from riskscale.rate.limit import Limit, as_limits

Limits = tuple[Limit, ...]


class StaticLimits:
    """Limits of single keys that do not change, and a default for all others; for asyncio and for threads.

    Args:
        limits: the limits of each key that has its own: a :class:`riskscale.Limit`, or several.
        default: those of every other key.

    Raises:
        ArgumentError: these are no limits that a limiter can have.
    """

    def __init__(self, limits: Mapping[str, Limit | Iterable[Limit]], default: Limit | Iterable[Limit]) -> None:
        self._default = as_limits(default, "default")
        self._limits = {check_name(key, "limits"): as_limits(each) for key, each in limits.items()}

    def refresh(self, keys: Sequence[str]) -> None:
        """They do not change."""

    def known(self, keys: Sequence[str]) -> list[Limits]:
        """See :class:`riskscale.typing.LimitSource`."""
        return [self._limits.get(key, self._default) for key in keys]


class BaseCallableLimits:
    """See :class:`riskscale.CallableLimits`."""

    def __init__(self, function: Callable[[str], Any], default: Limit | Iterable[Limit], known: Known) -> None:
        if not callable(function):
            raise ArgumentError("function", "must be a callable of the key")
        self._function, self._known = function, known
        self._is_async = any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))

    def known(self, keys: Sequence[str]) -> list[Limits]:
        """See :class:`riskscale.typing.LimitSource`."""
        return self._known.of(keys) if self._is_async else [self._called(key) for key in keys]

    def _called(self, key: str) -> Limits:
        try:
            return self._made(self._function(key))
        except Exception as error:
            return self._known.doubt(key, f"{type(error).__name__}: {error}")

    def _made(self, answer: Limit | Iterable[Limit] | None) -> Limits:
        return self._known.default if answer is None else as_limits(answer, "function's limits")


class BaseRedisLimits:
    """See :class:`riskscale.RedisLimits`."""

    def __init__(self, hub: BaseHub, name: str, default: Limit | Iterable[Limit]) -> None:
        self._calls = LimitsCalls(hub.root, name)
        self._known = Known(as_limits(default, "default"), hub.monotonic)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self._calls.key.decode()!r}>"

    def known(self, keys: Sequence[str]) -> list[Limits]:
        """See :class:`riskscale.typing.LimitSource`."""
        return self._known.of(keys)

    def _store(self, keys: Sequence[str], found: Found, sent: float) -> None:
        limits = {key: self._understood(key, text) for key, text in zip(keys, found.texts, strict=True)}
        self._known.store(limits, sent, found.version)

    def _understood(self, key: str, text: str) -> Limits:
        if not text:
            return self._known.default
        try:
            return understood(text, self._known.default)
        except ArgumentError as error:
            return self._known.doubt(key, str(error))
