"""Keyed state in this process that forgets what has ended, as a server's expiry does."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Expires(Protocol):
    """State that says when it stops to matter."""

    @property
    def expires_us(self) -> int: ...


S = TypeVar("S", bound=Expires)


class ExpiringStore(Generic[S]):
    """One state a key, made when first asked for; the ended ones are dropped each time the store has doubled."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._states: dict[Hashable, S] = {}
        self._sweep_at = 64

    def find(self, key: Hashable) -> S | None:
        """The state of ``key``, if there is one."""
        return self._states.get(key)

    def get(self, key: Hashable, now_us: int) -> S:
        """The state of ``key``, fresh where there was none."""
        state = self._states.get(key)
        if state is None:
            if len(self._states) >= self._sweep_at:
                self._states = {k: s for k, s in self._states.items() if s.expires_us > now_us}
                self._sweep_at = max(64, 2 * len(self._states))
            state = self._states[key] = self._make()
        return state
