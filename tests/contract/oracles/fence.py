"""Guarded values."""

from __future__ import annotations

from typing import Any

from riskscale.fence._model import GuardModel
from tests.contract.oracles import Words


class Oracle:
    def __init__(self) -> None:
        self.guard_of: dict[str, GuardModel] = {}

    def guard(self, keys: Words, args: Words) -> list[Any]:
        value = args[1] if isinstance(args[1], bytes) else args[1].encode()
        written = self._model(keys).write(value, int(args[0]))
        return [int(written.written), written.fence, int(args[-1])]

    def read(self, keys: Words, args: Words) -> list[Any]:
        accepted, fence, value = self._model(keys).read(int(args[0]))
        return [int(accepted), fence, int(args[-1]), int(value is not None), value or b""]

    def _model(self, keys: Words) -> GuardModel:
        return self.guard_of.setdefault(keys[0], GuardModel())
