"""``limiter.limited(...)``: a block or a function that begins when the limit lets it."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from riskscale._core.durations import MAX_WINDOW_US, MICRO, Duration, microseconds
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError
from riskscale.rate.calls import Decision, check_cost

if TYPE_CHECKING:
    from riskscale.rate.limiter import RateLimiter

P = ParamSpec("P")
R = TypeVar("R")
Key = str | Callable[..., str]
Cost = int | Callable[..., int]


class BaseLimited:
    """Whose requests they are, what each costs, and how long they wait."""

    def __init__(self, key: Key, cost: Cost, wait: Duration | None) -> None:
        self._key = key if callable(key) else check_name(key, "key")
        self._cost = cost if callable(cost) else check_cost(cost)
        self._wait = math.inf if wait is None else microseconds(wait, "wait", 0, MAX_WINDOW_US) / MICRO

    def _of_block(self) -> tuple[str, int]:
        if callable(self._key):
            raise ArgumentError("key", "must be text in a with statement; functions have arguments to find it in")
        if callable(self._cost):
            raise ArgumentError("cost", "must be a number in a with statement")
        return self._key, self._cost

    def _of_call(self, *args: Any, **kwargs: Any) -> tuple[str, int]:
        key = self._key(*args, **kwargs) if callable(self._key) else self._key
        return key, self._cost(*args, **kwargs) if callable(self._cost) else self._cost


class Limited(BaseLimited):
    """For asyncio: ``async with``, and a decorator of coroutine functions."""

    def __init__(self, limiter: RateLimiter, key: Key, cost: Cost, wait: Duration | None) -> None:
        super().__init__(key, cost, wait)
        self._limiter = limiter

    async def __aenter__(self) -> Decision:
        return await self._limiter._admit(*self._of_block(), self._wait)

    async def __aexit__(self, *_: object) -> None:
        """What began is used up."""

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """The same function, limited."""
        if not inspect.iscoroutinefunction(function):
            raise ArgumentError("function", "must be a coroutine function; riskscale.sync limits the others")

        @functools.wraps(function)
        async def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            await self._limiter._admit(*self._of_call(*args, **kwargs), self._wait)
            return await function(*args, **kwargs)

        return limited
