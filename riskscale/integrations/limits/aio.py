"""The asyncio storage."""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio
from limits.aio.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

import riskscale
from riskscale._core.base import check_client
from riskscale._core.call import Call
from riskscale.integrations.limits.base import RESET_BATCH, Ask, BaseStorage, Flow, Life, Limiters, R, forget
from riskscale.integrations.limits.storage import RiskscaleStorage


class AsyncRiskscaleStorage(BaseStorage, Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """For ``limits.aio.strategies``; hits at one time travel together. Its arguments are :class:`BaseStorage`'s."""

    STORAGE_SCHEME = [f"async+{scheme}" for scheme in RiskscaleStorage.STORAGE_SCHEME]  # noqa: RUF012 - as limits has it

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        check_client(self._connected(redis.asyncio.Redis), blocking=False)
        self._of_loops: dict[asyncio.AbstractEventLoop, Limiters[riskscale.RateLimiter]] = {}

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """See :meth:`RiskscaleStorage.incr`."""
        return await self._run(self._count(key, expiry, amount))

    async def get(self, key: str) -> int:
        """See :meth:`RiskscaleStorage.get`."""
        return await self._run(self._counted(key))

    async def get_expiry(self, key: str) -> float:
        """See :meth:`RiskscaleStorage.get_expiry`."""
        return await self._run(self._expiry(key))

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See :meth:`RiskscaleStorage.acquire_entry`."""
        return await self._run(self._acquire("sliding_log", key, limit, expiry, amount))

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """See :meth:`RiskscaleStorage.get_moving_window`."""
        return await self._run(self._moving(key, limit, expiry))

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """See :meth:`RiskscaleStorage.acquire_sliding_window_entry`."""
        return await self._run(self._acquire("sliding_window", key, limit, expiry, amount))

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """See :meth:`RiskscaleStorage.get_sliding_window`."""
        return await self._run(self._sliding(key, expiry))

    async def clear(self, key: str) -> None:
        """See :meth:`RiskscaleStorage.clear`."""
        await self._run(self._clear(key))

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """See :meth:`RiskscaleStorage.clear`."""
        await self._run(self._clear(key))

    async def reset(self) -> int:
        """See :meth:`RiskscaleStorage.reset`."""
        hub, batch, were = self._limiters().hub, [], 0
        async for key in hub.client.scan_iter(**self._ours(hub)):
            batch.append(key)
            if hub.is_cluster or len(batch) == RESET_BATCH:
                were += await hub.run(forget(batch))
                batch = []
        return were + (await hub.run(forget(batch)) if batch else 0)

    async def check(self) -> bool:
        """See :meth:`RiskscaleStorage.check`."""
        try:
            return await self._run(self._counted("check")) >= 0
        except self.base_exceptions:
            return False

    def _limiters(self) -> Limiters[riskscale.RateLimiter]:
        """Of this event loop: a connection belongs to the one that opened it."""
        loop = asyncio.get_running_loop()
        if loop not in self._of_loops:
            hub = riskscale.Hub(self._connected(redis.asyncio.Redis), key_prefix=self._key_prefix)
            others = {each: of for each, of in self._of_loops.items() if not each.is_closed()}
            self._of_loops = {**others, loop: Limiters(hub, riskscale.RateLimiter)}
        return self._of_loops[loop]

    async def _run(self, flow: Flow[R]) -> R:
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                result: R = end.value
                return result
            answer = await self._perform(step)

    async def _perform(self, step: Ask | Life | Call[Any]) -> Any:
        limiters = self._limiters()
        match step:
            case Ask():
                limiter = limiters.of(*step[:3])
                return await (limiter.hit if step.charge else limiter.peek)(step.key, step.cost)
            case Life():
                return await limiters.hub.client.pttl(step.key)
            case Call():
                return await limiters.hub.run(step)
