"""The sources for asyncio."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from riskscale._core.call import Call
from riskscale._core.hub import hub_of
from riskscale.limits.base import BaseCallableLimits, BaseRedisLimits, Limits
from riskscale.limits.calls import MOST, Change, Found
from riskscale.limits.known import EARLY, FRESH, Known
from riskscale.limits.text import understood
from riskscale.rate.limit import Limit, as_limits

CALLS = 64
"""Calls of a coroutine function under way."""
LONGEST = 10.0
"""Seconds that one may take: while it is under way, no others are begun."""


class Reader(ABC):
    """Limits that are read elsewhere: by one task, for all who ask, before what they know gets too old."""

    blocking = False

    def __init__(self, known: Known, most: int) -> None:
        self._known, self._most = known, most
        self._wanted: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Event()

    def refresh(self, keys: Sequence[str]) -> Awaitable[None] | None:
        """See :class:`riskscale.typing.LimitSource`."""
        age = self._known.age(keys)
        if age < EARLY:
            return None
        if self._known.may_ask:
            self._wanted.update(self._known.older(keys, EARLY))
            if self._task is None or self._task.done():
                self._task = self._spawn(self._read())
        return None if age < FRESH or self._known.is_blind else self._wait(keys)

    async def _wait(self, keys: Sequence[str]) -> None:
        with suppress(TimeoutError):
            while self._task is not None and not self._task.done() and self._known.age(keys) >= FRESH:
                async with asyncio.timeout(self._known.patience):
                    await self._turn.wait()

    async def _read(self) -> None:
        try:
            while self._wanted:
                keys = self._known.to_read(self._wanted, self._most)
                await self._fetch(keys, self._known.begin())
                self._known.settle(self._wanted, keys)
                self._wake()
        except Exception as error:
            self._known.failed(error)
        finally:
            self._task = None
            self._wanted.clear()
            self._wake()

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    @abstractmethod
    async def _fetch(self, keys: list[str], sent: float) -> None:
        """Read the limits of ``keys`` and store them."""

    @abstractmethod
    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task for it."""


class CallableLimits(BaseCallableLimits, Reader):
    """Limits that a function knows.

    Args:
        function: gets a key and gives its :class:`riskscale.Limit`, or several, or None for the default. A plain one
            is called for each decision. The answers of a coroutine function are used for a second; before that ends,
            those that are still needed are asked for again.
        default: what keys have for which it gives None, or fails, before it gave anything else.

    Raises:
        ArgumentError: ``function`` is no callable, or ``default`` no limits that a limiter can have.
    """

    def __init__(self, function: Callable[[str], Any], default: Limit | Iterable[Limit]) -> None:
        known = Known(as_limits(default, "default"), time.monotonic)
        BaseCallableLimits.__init__(self, function, default, known)
        Reader.__init__(self, known, CALLS)

    def refresh(self, keys: Sequence[str]) -> Awaitable[None] | None:
        """See :class:`riskscale.typing.LimitSource`."""
        return super().refresh(keys) if self._is_async else None

    async def _fetch(self, keys: list[str], sent: float) -> None:
        answers = await asyncio.gather(*map(self._asked, keys))
        self._known.store(dict(zip(keys, answers, strict=True)), sent)

    async def _asked(self, key: str) -> Limits:
        try:
            async with asyncio.timeout(LONGEST):
                return self._made(await self._function(key))
        except Exception as error:
            self._known.doubt(key, f"{type(error).__name__}: {error}", "the last known limits go on")
            return self._known.of((key,))[0]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)


class RedisLimits(BaseRedisLimits, Reader):
    """Limits of single keys that stand on the server, where ``riskscale limits set`` changes them for all replicas.

    A hit that is made 1 s after a change, or later, goes by it, if the server answers within a second; when it does
    not, or is gone, the last known go on. What a key used so far goes on counting.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what they are called; one name may serve several limiters.
        default: the limits of a key that has none of its own, or none that make sense (which is logged once). They also
            say how the others are counted: their algorithm, and their names.

    Raises:
        ArgumentError: an argument is malformed.
    """

    def __init__(self, client: Any, name: str, default: Limit | Iterable[Limit]) -> None:
        self._hub = hub_of(client)
        BaseRedisLimits.__init__(self, self._hub, name, default)
        Reader.__init__(self, self._known, MOST)

    async def set(self, key: str, limits: str) -> Change:
        """Give ``key`` limits of its own, such as ``"500/minute"`` or ``"10/second burst=20; 1000/hour"``.

        Here they count at once. A user for services may not do this: ``riskscale scripts acl --operator``.

        Raises:
            ArgumentError: ``limits`` does not parse, or ``key`` is empty.
            StateError: the key on the server holds something else.
        """
        understood(limits, self._known.default)
        return await self._change(self._calls.set(key, limits), key, limits)

    async def unset(self, key: str) -> Change:
        """Take them from it: the default counts again."""
        return await self._change(self._calls.unset(key), key, "")

    async def _change(self, call: Call[Change], key: str, limits: str) -> Change:
        sent = self._hub.monotonic()
        change = await self._hub.run(call)
        self._store((key,), Found(change.version, [limits]), sent)
        return change

    async def _fetch(self, keys: list[str], sent: float) -> None:
        self._store(keys, await self._hub.run(self._calls.read(keys)), sent)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._hub.spawn(work)
