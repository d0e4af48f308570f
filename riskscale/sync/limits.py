"""The sources for threads; see :mod:`riskscale.limits.source`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from riskscale._core.call import Call
from riskscale.errors import ArgumentError
from riskscale.limits.base import BaseCallableLimits, BaseRedisLimits
from riskscale.limits.calls import MOST, Change, Found
from riskscale.limits.known import EARLY, FRESH, Known
from riskscale.limits.text import understood
from riskscale.rate.limit import Limit, as_limits
from riskscale.sync.hub import hub_of


class CallableLimits(BaseCallableLimits):
    """Limits that a plain function knows; see :class:`riskscale.CallableLimits`."""

    blocking = True

    def __init__(self, function: Callable[[str], Any], default: Limit | Iterable[Limit]) -> None:
        super().__init__(function, default, Known(as_limits(default, "default"), time.monotonic))
        if self._is_async:
            raise ArgumentError("function", "is a coroutine function; use riskscale.CallableLimits")

    def refresh(self, keys: Sequence[str]) -> None:
        """See :class:`riskscale.typing.LimitSource`."""


class RedisLimits(BaseRedisLimits):
    """Limits of single keys that stand on the server; see :class:`riskscale.RedisLimits`.

    What is known is looked at again by one of the threads that use it, in one round trip, while the others go on.
    """

    blocking = True

    def __init__(self, client: Any, name: str, default: Limit | Iterable[Limit]) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, name, default)
        self._mutex = threading.Lock()

    def refresh(self, keys: Sequence[str]) -> None:
        """See :class:`riskscale.typing.LimitSource`."""
        age = self._known.age(keys)
        if age < EARLY:
            return
        others_go_on = age < FRESH or self._known.is_blind
        if self._mutex.acquire(timeout=0 if others_go_on else self._known.patience):
            try:
                if self._known.may_ask:
                    self._read(self._known.older(keys, EARLY))  # fewer, if another thread has read meanwhile
            finally:
                self._mutex.release()

    def _read(self, wanted: dict[str, None]) -> None:
        try:
            while wanted:
                keys = self._known.to_read(wanted, MOST)
                sent = self._known.begin()
                self._store(keys, self._hub.run(self._calls.read(keys)), sent)
                self._known.settle(wanted, keys)
        except Exception as error:
            self._known.failed(error)

    def set(self, key: str, limits: str) -> Change:
        """See :meth:`riskscale.RedisLimits.set`."""
        understood(limits, self._known.default)
        return self._change(self._calls.set(key, limits), key, limits)

    def unset(self, key: str) -> Change:
        """Take them from it: the default counts again."""
        return self._change(self._calls.unset(key), key, "")

    def _change(self, call: Call[Change], key: str, limits: str) -> Change:
        sent = self._hub.monotonic()
        change = self._hub.run(call)
        self._store((key,), Found(change.version, [limits]), sent)
        return change
