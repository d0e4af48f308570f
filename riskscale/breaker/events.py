"""Transitions, as somebody reads them."""

from __future__ import annotations

import asyncio
from collections import deque

from riskscale.breaker.replica import Replica
from riskscale.breaker.state import Transition

MOST = 1000
"""Transitions that are kept for a reader who does not come; of more, the oldest are lost."""


class BaseEvents:
    """What has happened since it was made, and was not read yet."""

    def __init__(self, replica: Replica) -> None:
        self._seen: deque[Transition] = deque(maxlen=MOST)
        replica.listen(self, type(self)._put)
        self._is_over = replica.is_over

    def _put(self, transition: Transition | None) -> None:
        if transition is None:
            self._is_over = True
        else:
            self._seen.append(transition)


class Events(BaseEvents):
    """For asyncio: ``async for transition in breaker.events()``, until the hub is closed."""

    def __init__(self, replica: Replica) -> None:
        self._changed = asyncio.Event()
        super().__init__(replica)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Transition:
        while not self._seen:
            if self._is_over:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._seen.popleft()

    def _put(self, transition: Transition | None) -> None:
        super()._put(transition)
        self._changed.set()
