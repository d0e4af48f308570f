"""Keys of idempotency."""

from __future__ import annotations

from typing import Any

from riskscale.idempotency._model import RecordModel
from tests.contract.oracles import Words


class Oracle:
    def __init__(self) -> None:
        self.records: dict[str, RecordModel] = {}

    def begin(self, keys: Words, args: Words) -> list[Any]:
        token, fingerprint, lease_us, keep_us, mailbox, now = args
        begun = self._model(keys[0]).begin(token, fingerprint, int(lease_us), int(keep_us), mailbox, int(now))
        *numbers, place, response = begun
        return [*numbers, int(now), place.encode(), response]

    def complete(self, keys: Words, args: Words) -> list[int]:
        token, fingerprint, keep_us, place, response, now = args
        value = response if isinstance(response, bytes) else response.encode()
        model = self._model(keys[0])
        return [int(model.complete(token, fingerprint, int(keep_us), place, value, int(now))), int(now)]

    def abandon(self, keys: Words, args: Words) -> list[int]:
        token, left, now = args
        return [int(self._model(keys[0]).abandon(token, left, int(now))), int(now)]

    def heartbeat(self, keys: Words, args: Words) -> list[int]:
        now, pairs = int(args[-1]), zip(keys, args[0::2], args[1::2], strict=False)
        return [now, *(self._model(key).heartbeat(token, int(lease_us), now) for key, token, lease_us in pairs)]

    def _model(self, key: str) -> RecordModel:
        return self.records.setdefault(key, RecordModel())
