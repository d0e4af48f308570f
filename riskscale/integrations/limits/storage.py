"""The blocking storage."""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

import redis
from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

import riskscale.sync
from riskscale._core.base import check_client
from riskscale._core.call import Call
from riskscale.integrations.limits.base import RESET_BATCH, Ask, BaseStorage, Flow, Life, Limiters, R, forget


class RiskscaleStorage(BaseStorage, Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Blocking, for ``limits.strategies``; its arguments are :class:`BaseStorage`'s."""

    STORAGE_SCHEME = ["riskscale+redis", "riskscale+rediss", "riskscale+redis+unix"]  # noqa: RUF012 - as limits has it

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connection = self._connected(redis.Redis)
        check_client(self._connection, blocking=True)
        self._of_process: tuple[int, Limiters[riskscale.sync.RateLimiter]] | None = None

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count ``amount``, unless that passes the limit that the key ends with; what the count is, or would be."""
        return self._run(self._count(key, expiry, amount))

    def get(self, key: str) -> int:
        """Units counted in the present window."""
        return self._run(self._counted(key))

    def get_expiry(self, key: str) -> float:
        """When the present window ends, in seconds since 1970; now, where there is none."""
        return self._run(self._expiry(key))

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Ask for ``amount`` units, of ``limit`` in any ``expiry`` seconds; whether they were granted."""
        return self._run(self._acquire("sliding_log", key, limit, expiry, amount))

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest unit that counts was granted, and how many count."""
        return self._run(self._moving(key, limit, expiry))

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """The same as :meth:`acquire_entry`, by sub-buckets."""
        return self._run(self._acquire("sliding_window", key, limit, expiry, amount))

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """0 and 0.0; the units that count, and seconds until the first of them count no more."""
        return self._run(self._sliding(key, expiry))

    def clear(self, key: str) -> None:
        """Forget what ``key`` used, by whatever strategy."""
        self._run(self._clear(key))

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """The same."""
        self._run(self._clear(key))

    def reset(self) -> int:
        """Forget everything; how many keys there were. SCANs for keys of this storage, and touches no others."""
        hub = self._limiters().hub
        found = hub.client.scan_iter(**self._ours(hub))
        size = 1 if hub.is_cluster else RESET_BATCH
        return sum(hub.run(forget(batch)) for batch in iter(lambda: list(islice(found, size)), []))

    def check(self) -> bool:
        """Whether the server runs our scripts."""
        try:
            return self._run(self._counted("check")) >= 0
        except self.base_exceptions:
            return False

    def _limiters(self) -> Limiters[riskscale.sync.RateLimiter]:
        """Of this process: servers load the application, and then fork."""
        if self._of_process is None or self._of_process[0] != os.getpid():
            hub = riskscale.sync.Hub(self._connection, key_prefix=self._key_prefix)
            self._of_process = os.getpid(), Limiters(hub, riskscale.sync.RateLimiter)
        return self._of_process[1]

    def _run(self, flow: Flow[R]) -> R:
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                result: R = end.value
                return result
            answer = self._perform(step)

    def _perform(self, step: Ask | Life | Call[Any]) -> Any:
        limiters = self._limiters()
        match step:
            case Ask():
                limiter = limiters.of(*step[:3])
                return (limiter.hit if step.charge else limiter.peek)(step.key, step.cost)
            case Life():
                return limiters.hub.client.pttl(step.key)
            case Call():
                return limiters.hub.run(step)
