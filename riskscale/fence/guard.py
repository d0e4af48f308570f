"""The guard for asyncio."""

from __future__ import annotations

from typing import Any

from riskscale._core.durations import Duration
from riskscale._core.hub import hub_of
from riskscale.fence.calls import BaseGuard


class Guard(BaseGuard):
    """A value in Redis that refuses a holder whose lease has passed to another, once that other has come to it.

    A process that is stopped past its lease does not know, and no look at ``remaining()`` helps it when it is stopped
    after the look. The guard compares the fence that comes along with the highest that has come. Fences of one lock
    compare: write one value under one lock.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what is written; any text.
        tag: text that decides the cluster slot in place of the name.

    Raises:
        ArgumentError: an argument is malformed.
    """

    def __init__(self, client: Any, name: str, *, tag: str | None = None) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, name, tag)

    async def write(self, value: str | bytes, *, fence: int, ttl: Duration | None = None) -> None:
        """Write ``value``, unless a newer fence has come. After an error of the client it can be repeated.

        Args:
            value: text (UTF-8) or bytes.
            fence: of the lease under which this is written: ``lease.fence``.
            ttl: seconds that the value is kept; None: for ever. The fence is kept for ever.

        Raises:
            StaleFence: a newer fence has read or written; nothing was changed.
            ArgumentError: an argument is malformed.
            StateError: a key of it holds something else, and was left untouched.
        """
        await self._hub.run(self._write(value, fence, ttl))

    async def read(self, *, fence: int) -> bytes | None:
        """The value (None: there is none) before it is changed: from then on no older fence writes it.

        After a plain GET the holder before could still write, and the change would undo that unseen.

        Raises:
            StaleFence: a newer fence has read or written; nothing was changed.
            ArgumentError: ``fence`` is not a whole number of 1 or more.
            StateError: a key of it holds something else, and was left untouched.
        """
        return await self._hub.run(self._read(fence))
