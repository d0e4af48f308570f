"""Hits that are made at the same time travel together: one round trip for all of one kind.

A batch is sent at the next turn of the event loop; while two are under way, the next one fills. Who finds that the last
caller was alone does not even wait for that turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from riskscale._core.answers import fail_all
from riskscale._core.call import Arg, Call, line
from riskscale._core.hub import Hub
from riskscale.errors import HubClosed

R = TypeVar("R")

IN_FLIGHT = 2
"""Batches of one kind under way: one is decided while the replies of the other are read."""
HALVES = 16
"""From so many callers on, those who come together travel in two batches, for the sake of that."""


class Batched(Protocol[R]):
    """How items become a call, and its reply their results; hits are such, and loans."""

    @property
    def kind(self) -> tuple[str, tuple[Arg, ...]]: ...
    @property
    def most(self) -> int: ...
    def keys_of(self, items: Sequence[Any]) -> Sequence[bytes]: ...
    def words_of(self, items: Sequence[Any]) -> Sequence[Arg]: ...
    def decided(self, numbers: Sequence[int], items: Sequence[Any], first: int = 0) -> list[R]: ...


class Ask:
    """Some items of one caller, at most as many as one call takes."""

    __slots__ = ("answer", "batch", "items", "keys", "plan", "task")

    def __init__(self, plan: Batched[Any], items: Sequence[Any], answer: asyncio.Future[list[Any]]) -> None:
        self.plan, self.items, self.answer = plan, items, answer
        self.keys = plan.keys_of(items)
        self.batch: list[Ask] = []
        """With whom it travels, once it was sent by ``task``."""
        self.task: asyncio.Task[None] | None = None


class Kind:
    """Requests that one call can decide: those of the same limits, on a cluster of the same slot too."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asks: deque[Ask] = deque()
        self._in_flight = 0
        self._is_called = False
        self._last = 0
        """Callers of the last batch."""

    async def ask(self, plan: Batched[R], items: Sequence[Any]) -> list[R]:
        """Decide them, with whatever else is asked now; at most ``plan.most``.

        A caller that is cancelled, or runs out of time, disturbs nobody; what was not sent yet is not charged.
        """
        hub = self._hub
        if self._last == 1 and not self._in_flight and not self._asks:
            return await self._alone(plan, items)
        hub.check_open()
        ask = Ask(plan, items, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        if not self._is_called and self._in_flight < IN_FLIGHT:
            self._is_called = True
            hub.enter()
            ask.answer.get_loop().call_soon(self._begin)
        try:
            if hub.timeout is None:
                return await ask.answer
            async with asyncio.timeout(hub.timeout):
                return await ask.answer
        finally:
            if ask.answer.cancelled():
                self._given_up(ask)

    def close(self) -> None:
        """With the hub, which has waited for those who ask as long as it waits for anybody."""
        fail_all([ask.answer for ask in self._asks], HubClosed())

    def _given_up(self, ask: Ask) -> None:
        """Nobody keeps a place of those under way for callers who have all gone: a server may never answer."""
        if ask.task is None:
            while self._asks and self._asks[0].answer.done():
                self._asks.popleft()
        elif all(each.answer.done() for each in ask.batch):
            ask.task.cancel()

    async def _alone(self, plan: Batched[R], items: Sequence[Any]) -> list[R]:
        self._in_flight += 1
        try:
            self._observe(len(items))
            numbers = await self._hub.run(_call(plan, plan.keys_of(items), plan.words_of(items)))
            return plan.decided(numbers, items)
        finally:
            self._in_flight -= 1
            self._send()

    def _begin(self) -> None:
        self._is_called = False
        self._send()
        self._hub.leave()

    def _send(self) -> None:
        while self._in_flight < IN_FLIGHT and (batch := self._next_batch()):
            self._in_flight += 1
            task = self._hub.spawn(self._decide(batch))
            task.add_done_callback(partial(self._ended, batch))
            for ask in batch:
                ask.batch, ask.task = batch, task

    def _next_batch(self) -> list[Ask]:
        """As many as one call takes, in order of arrival; whoever gave up meanwhile is not charged."""
        batch: list[Ask] = []
        asks, room = self._asks, 0
        callers = len(asks)
        if not self._in_flight and callers >= HALVES and callers > self._last:  # no half of a crowd that was halved
            callers = (callers + 1) // 2
        while asks and len(batch) < callers:
            ask = asks[0]
            if not ask.answer.done():
                room = room if batch else ask.plan.most
                if len(ask.items) > room:
                    break
                batch.append(ask)
                room -= len(ask.items)
            asks.popleft()
        self._last = len(batch) or self._last
        return batch

    async def _decide(self, batch: list[Ask]) -> None:
        asks, first = tuple(batch), 0
        try:
            self._observe(sum([len(ask.items) for ask in asks]))
            numbers = await self._hub.ask(_together(asks))
            if len(asks) == 1:  # who asks again at once finds nothing under way, and goes by itself
                self._over(batch)
            for ask in asks:
                if not ask.answer.done():
                    ask.answer.set_result(ask.plan.decided(numbers, ask.items, first))
                first += len(ask.items)
        except Exception as error:
            fail_all([ask.answer for ask in asks], error)

    def _ended(self, batch: list[Ask], task: asyncio.Task[None]) -> None:
        if task.cancelled():  # perhaps before its first step
            fail_all([ask.answer for ask in batch], HubClosed())
        self._over(batch)

    def _over(self, batch: list[Ask]) -> None:
        if batch:
            batch.clear()  # each of them knows it: a circle that only the garbage collector would find
            self._in_flight -= 1
            self._send()

    def _observe(self, items: int) -> None:
        if self._hub.meter is not None:
            self._hub.meter.observe("rate_batch_size", items)


class Coalescer:
    """One per hub: what kinds there are."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._kinds: WeakValueDictionary[object, Kind] = WeakValueDictionary()

    def kind(self, plan: Batched[R], slot: int = 0) -> Kind:
        """The one of a plan's limits; kept while a limiter, or a request, refers to it."""
        name = (plan.kind, slot)
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = Kind(self._hub)
        return kind

    async def aclose(self) -> None:
        """Refuse whoever still waits."""
        for kind in list(self._kinds.values()):
            kind.close()


def _together(batch: Sequence[Ask]) -> Call[list[int]]:
    keys = [key for ask in batch for key in ask.keys]
    words = [word for ask in batch for word in ask.plan.words_of(ask.items)]
    return _call(batch[0].plan, keys, words)


def _call(plan: Batched[R], keys: Sequence[bytes], words: Sequence[Arg]) -> Call[list[int]]:
    script, fixed = plan.kind
    return Call(script, tuple(keys), (*fixed, *words), line)
