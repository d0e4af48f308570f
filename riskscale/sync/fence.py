"""The guard for threads; see :mod:`riskscale.fence.guard`."""

from __future__ import annotations

from typing import Any

from riskscale._core.durations import Duration
from riskscale.fence.calls import BaseGuard
from riskscale.sync.hub import hub_of


class Guard(BaseGuard):
    """A value that refuses older holders, for a blocking client; see :class:`riskscale.Guard`."""

    def __init__(self, client: Any, name: str, *, tag: str | None = None) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, name, tag)

    def write(self, value: str | bytes, *, fence: int, ttl: Duration | None = None) -> None:
        """See :meth:`riskscale.Guard.write`."""
        self._hub.run(self._write(value, fence, ttl))

    def read(self, *, fence: int) -> bytes | None:
        """See :meth:`riskscale.Guard.read`."""
        return self._hub.run(self._read(fence))
