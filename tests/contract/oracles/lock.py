"""Locks, but for ``inspect``. Nobody listens, so no mailbox is reached."""

from __future__ import annotations

from typing import Any

from riskscale.lock._model import LockModel
from tests.contract.oracles import Words


class Oracle:
    def __init__(self) -> None:
        self.locks: dict[str, LockModel] = {}

    def _model(self, key: str) -> LockModel:
        return self.locks.setdefault(key, LockModel())

    def acquire(self, keys: Words, args: Words) -> list[Any]:
        owner, ttl_us, mailbox, hold, _, now = args
        seen = self._model(keys[0]).acquire(owner, int(ttl_us), mailbox, int(now), hold)
        return [*map(int, seen), int(now)]

    def release(self, keys: Words, args: Words) -> list[Any]:
        owner, hold, now = args
        return [*map(int, self._model(keys[0]).release(owner, int(now), hold)), int(now)]

    def force_release(self, keys: Words, args: Words) -> list[Any]:
        lost, fence, now = args
        return [*map(int, self._model(keys[0]).force_release(lost, int(fence), int(now))), int(now)]

    def renew(self, keys: Words, args: Words) -> list[Any]:
        now, pairs = int(args[-1]), zip(keys, args[0::2], args[1::2], strict=False)
        return [now, *(self._model(key).renew(owner, int(ttl_us), now) for key, owner, ttl_us in pairs)]

    def acquire_all(self, keys: Words, args: Words) -> list[Any]:
        owner, ttl_us, now = args[0], int(args[1]), int(args[-1])
        models = [self._model(key) for key in keys[0::3]]
        free = [model.can_be_had(owner, now) for model in models]
        if all(free):
            for model in models:
                model.take(owner, ttl_us, now)
            return [1, 0, now, *(model.fence for model in models)]
        left = [min(model.end_us - now, model.ttl_us) for model, had in zip(models, free, strict=True) if not had]
        return [0, max(1000, *left), now, *(0 if had else -1 for had in free)]
