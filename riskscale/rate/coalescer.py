"""Hits that are made at the same time travel together: one round trip for all of one kind.

A batch is sent at the next turn of the event loop; while two are under way, the next one fills. Who finds that the last
caller was alone does not even wait for that turn.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Iterable, Sequence
from weakref import WeakValueDictionary

from riskscale._core.call import Call, line
from riskscale._core.hub import Hub
from riskscale.errors import HubClosed
from riskscale.rate.calls import Decided, Pairs, Plan

IN_FLIGHT = 2
"""Batches of one kind under way: one is decided while the replies of the other are read."""


class Ask:
    """Some items of one caller, at most as many as one call takes."""

    __slots__ = ("answer", "keys", "pairs", "plan")

    def __init__(self, plan: Plan, pairs: Pairs, answer: asyncio.Future[Decided]) -> None:
        self.plan, self.pairs, self.answer = plan, pairs, answer
        self.keys = plan.keys(pairs[0][0]) if len(pairs) == 1 else plan.keys_of(pairs)


class Kind:
    """Requests that one call can decide: those of the same limits, on a cluster of the same slot too."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asks: deque[Ask] = deque()
        self._in_flight = 0
        self._is_called = False
        self._is_lonely = False
        """Whether the last call was for one caller alone; the next then goes straight to the server."""

    async def hits(self, plan: Plan, pairs: Pairs) -> Decided:
        """Decide them, with whatever else is asked now; at most ``plan.most``.

        A caller that is cancelled, or runs out of time, disturbs nobody; what was not sent yet is not charged.
        """
        hub = self._hub
        if self._is_lonely and not self._in_flight and not self._asks:
            return await self._alone(plan, pairs)
        hub.check_open()
        ask = Ask(plan, pairs, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        if not self._is_called and self._in_flight < IN_FLIGHT:
            self._is_called = True
            hub.enter()
            ask.answer.get_loop().call_soon(self._begin)
        if hub.timeout is None:
            return await ask.answer
        async with asyncio.timeout(hub.timeout):
            return await ask.answer

    def close(self) -> None:
        """With the hub, which has waited for those who ask as long as it waits for anybody."""
        _refuse(self._asks, HubClosed())

    async def _alone(self, plan: Plan, pairs: Pairs) -> Decided:
        self._in_flight += 1
        try:
            self._observe(len(pairs))
            return await self._hub.run(plan.hits(pairs, True))
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
            self._is_lonely = len(batch) == 1
            self._hub.spawn(self._decide(batch))

    def _next_batch(self) -> list[Ask]:
        """As many as one call takes, in order of arrival; whoever gave up meanwhile is not charged."""
        batch: list[Ask] = []
        asks, room = self._asks, 0
        while asks:
            ask = asks[0]
            if not ask.answer.done():
                room = room if batch else ask.plan.most
                if len(ask.pairs) > room:
                    break
                batch.append(ask)
                room -= len(ask.pairs)
            asks.popleft()
        return batch

    async def _decide(self, batch: list[Ask]) -> None:
        try:
            call = _together(batch)
            self._observe(len(call.keys) // len(batch[0].plan.limits))
            numbers = await self._hub.ask(call)
            first = 0
            for ask in batch:
                if not ask.answer.done():
                    ask.answer.set_result(ask.plan.decided(numbers, ask.pairs, first))
                first += len(ask.pairs)
        except Exception as error:
            _refuse(batch, error)
        except asyncio.CancelledError:
            _refuse(batch, HubClosed())
            raise
        finally:
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

    def kind(self, plan: Plan, slot: int = 0) -> Kind:
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
    script, fixed = batch[0].plan.kind
    keys = tuple([key for ask in batch for key in ask.keys])
    costs = [b"1" if cost == 1 else cost for ask in batch for _, cost in ask.pairs]  # an int takes a client longer
    return Call(script, keys, (*fixed, b"1", *costs), line)


def _refuse(asks: Iterable[Ask], error: Exception) -> None:
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_exception(_own(error))


def _own(error: Exception) -> Exception:
    """One for each: raised in hundreds of tasks, a single one would gather the traceback of them all."""
    try:
        return copy.copy(error)
    except Exception:  # one that cannot be made anew from its arguments
        return error
