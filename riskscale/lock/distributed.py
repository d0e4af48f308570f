"""The keyed lock: one object for many keys, over any backend."""

from __future__ import annotations

from riskscale._core.durations import MICRO, Duration
from riskscale._core.keys import check_name
from riskscale.lease.grant import lease_us, new_token
from riskscale.typing import RedisLockBackend


class DistributedLock:
    """Locks by key. Each acquisition has a token of its own, kept inside this instance.

    Args:
        backend: :class:`riskscale.LuaLockBackend`, :class:`riskscale.InMemoryLockBackend`, or your own. Over the
            first it excludes a :class:`riskscale.Lock` of the same name.
    """

    def __init__(self, backend: RedisLockBackend) -> None:
        self._backend = backend
        self._tokens: dict[str, str] = {}

    async def acquire(self, key: str, ttl: Duration) -> bool:
        """Try once to take ``key`` for ``ttl`` seconds; False while anybody holds it, this instance included.

        Raises:
            ArgumentError: ``key`` is empty or ``ttl`` is not from 1 ms to 366 days.
            Whatever the backend raises.
        """
        check_name(key, "key")
        lease = lease_us(ttl) / MICRO
        token = new_token()
        taken = await self._backend.set_nx_ex(key, token, lease)
        if taken:
            self._tokens[key] = token
        return taken

    async def release(self, key: str) -> None:
        """Let go of ``key``; nothing if this instance never took it. After an error it can be called again."""
        token = self._tokens.get(key)
        if token is None:
            return
        await self._backend.delete_if_value(key, token)
        if self._tokens.get(key) == token:
            del self._tokens[key]
