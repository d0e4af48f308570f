"""Hits that are made at the same time travel together: one round trip for all of one kind.

A batch is sent at the next turn of the event loop, so that a lone caller waits for nobody; while two are under way, the
next one fills.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from riskscale._core.call import Call
from riskscale._core.hub import Hub
from riskscale.errors import HubClosed
from riskscale.rate.calls import Decided, Pairs, Plan

IN_FLIGHT = 2
"""Batches of one kind under way: one is decided while the replies of the other are read."""


@dataclass(slots=True, eq=False)
class Ask:
    """Some items of one caller, at most as many as one call takes."""

    plan: Plan
    pairs: Pairs
    keys: list[bytes]
    answer: asyncio.Future[Decided]


class Kind:
    """Requests that one call can decide: of the same limits, and on a cluster of the same slot."""

    __slots__ = ("asks", "in_flight", "is_called", "name")

    def __init__(self, name: tuple[object, ...]) -> None:
        self.name = name
        self.asks: deque[Ask] = deque()
        self.in_flight = 0
        self.is_called = False

    def next_batch(self) -> list[Ask]:
        """As many as one call takes, in order of arrival; whoever gave up meanwhile is not charged."""
        batch: list[Ask] = []
        room = 0
        while self.asks:
            ask = self.asks[0]
            if not ask.answer.done():
                room = room if batch else ask.plan.most
                if len(ask.pairs) > room:
                    break
                batch.append(ask)
                room -= len(ask.pairs)
            self.asks.popleft()
        return batch


class Coalescer:
    """One per hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._kinds: dict[tuple[object, ...], Kind] = {}

    async def hits(self, plan: Plan, pairs: Pairs) -> Decided:
        """Decide them, with whatever else is asked now: at most ``plan.most``, on a cluster of one slot.

        A caller that is cancelled, or runs out of time, disturbs nobody; what was not sent yet is not charged.
        """
        hub, keys = self._hub, plan.keys_of(pairs)
        hub.enter()
        try:
            ask = Ask(plan, pairs, keys, asyncio.get_running_loop().create_future())
            self._put(ask)
            if hub.timeout is None:
                return await ask.answer
            async with asyncio.timeout(hub.timeout):
                return await ask.answer
        finally:
            hub.leave()

    async def aclose(self) -> None:
        """With the hub, which has waited for those who ask, as long as it waits for anybody."""
        for kind in self._kinds.values():
            _refuse(kind.asks, HubClosed())

    def _put(self, ask: Ask) -> None:
        name = (*ask.plan.kind, self._hub.slot_of(ask.keys[0]))
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = Kind(name)
        kind.asks.append(ask)
        if not kind.is_called and kind.in_flight < IN_FLIGHT:
            kind.is_called = True
            asyncio.get_running_loop().call_soon(self._send, kind)

    def _send(self, kind: Kind) -> None:
        kind.is_called = False
        while kind.in_flight < IN_FLIGHT and (batch := kind.next_batch()):
            kind.in_flight += 1
            self._hub.spawn(self._decide(kind, batch))
        if not kind.in_flight and self._kinds.get(kind.name) is kind:
            del self._kinds[kind.name]

    async def _decide(self, kind: Kind, batch: list[Ask]) -> None:
        try:
            reply = await self._hub.ask(_together(batch))
        except Exception as error:
            _refuse(batch, error)
        except asyncio.CancelledError:
            _refuse(batch, HubClosed())
            raise
        else:
            first = 0
            for ask in batch:
                if not ask.answer.done():
                    ask.answer.set_result(ask.plan.decided(reply, ask.pairs, first))
                first += len(ask.pairs)
        finally:
            kind.in_flight -= 1
            self._send(kind)


def _together(batch: Sequence[Ask]) -> Call[Sequence[Any]]:
    script, fixed = batch[0].plan.kind
    keys = tuple(key for ask in batch for key in ask.keys)
    costs = [cost for ask in batch for _, cost in ask.pairs]
    return Call(script, keys, (*fixed, b"1", *costs), lambda reply: reply)


def _refuse(asks: Sequence[Ask] | deque[Ask], error: Exception) -> None:
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_exception(error)
