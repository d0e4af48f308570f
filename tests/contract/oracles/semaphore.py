"""Semaphores, but for ``inspect``."""

from __future__ import annotations

from typing import Any

from riskscale.semaphore._model import SemaphoreModel
from tests.contract.oracles import Words


class Oracle:
    def __init__(self) -> None:
        self.semaphores: dict[str, SemaphoreModel] = {}

    def _model(self, key: str) -> SemaphoreModel:
        return self.semaphores.setdefault(key, SemaphoreModel())

    def acquire(self, keys: Words, args: Words) -> list[Any]:
        owner, ttl_us, mailbox, weight, limit, max_queued, _, now = args
        most = float(max_queued or "inf")
        model = self._model(keys[0])
        return [
            *map(int, model.acquire(owner, int(ttl_us), mailbox, int(weight), int(limit), int(now), most)),
            int(now),
        ]

    def release(self, keys: Words, args: Words) -> list[Any]:
        return [*map(int, self._model(keys[0]).release(args[0], int(args[1]))), int(args[1])]

    def renew(self, keys: Words, args: Words) -> list[Any]:
        now, pairs = int(args[-1]), zip(keys, args[0::2], args[1::2], strict=False)
        return [now, *(self._model(key).renew(owner, int(ttl_us), now) for key, owner, ttl_us in pairs)]
