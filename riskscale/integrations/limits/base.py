"""What limits asks of a storage, as flows: generators that yield steps and are sent their results. No I/O."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import redis
from limits.limits import GRANULARITIES

from riskscale._core.base import BaseHub
from riskscale._core.call import Call
from riskscale._core.durations import MAX_WINDOW_US, MICRO
from riskscale._core.keys import check_prefix
from riskscale.errors import ArgumentError, StateError
from riskscale.rate.calls import check_cost
from riskscale.rate.limit import MAX_COUNT, Algorithm, Limit

NAME: Final = "limits-storage"
LABEL: Final = "item"
KINDS: Final[tuple[Algorithm, ...]] = ("fixed_window", "sliding_log", "sliding_window")
LIMITERS = 128
"""Limits that are not set up anew for each hit."""
RESET_BATCH = 512
UNBOUNDED = MAX_COUNT["fixed_window"]
LONGEST = MAX_WINDOW_US / MICRO

_OURS = re.compile(r"(?:async\+)?riskscale\+(?=redis)(?:redis\+(?=unix:))?")
_ITEM = re.compile(
    r"(?P<who>.*)/(?P<count>\d{1,15})(?P<period>/(?P<times>\d{1,9})/(?P<unit>[^/]+))", re.DOTALL | re.ASCII
)

R = TypeVar("R")
L = TypeVar("L")


class Item(NamedTuple):
    """What a key of limits says. ``RateLimitItem.key_for`` ends it with its limit; other keys have none."""

    key: str
    most: int = UNBOUNDED
    seconds: int | None = None

    @classmethod
    def of(cls, key: str, keep_state: bool) -> Item:
        """``keep_state`` leaves the count out of the key, so that a changed one finds the state."""
        found = _ITEM.fullmatch(key)
        kind = GRANULARITIES.get(found["unit"]) if found else None
        if found is None or kind is None:
            return cls(key)
        seconds = kind.GRANULARITY.seconds * int(found["times"])
        return cls(f"{found['who']}/*{found['period']}" if keep_state else key, int(found["count"]), seconds)


class Ask(NamedTuple):
    """A step: ask a limiter; its decision comes back."""

    kind: Algorithm
    most: int
    seconds: float
    key: str
    cost: int = 1
    charge: bool = False


class Life(NamedTuple):
    """A step: the milliseconds that a key has left; negative where there is none."""

    key: bytes


Flow: TypeAlias = Generator[Ask | Life | Call[Any], Any, R]


class Limiters(Generic[L]):
    """A hub, and a limiter for each limit that is asked for."""

    def __init__(self, hub: Any, limiter: Callable[..., L]) -> None:
        self.hub = hub

        def make(kind: Algorithm, count: int, seconds: float) -> L:
            return limiter(hub, Limit(count, per=seconds, algorithm=kind, name=LABEL), name=NAME)

        self.of = lru_cache(LIMITERS)(make)


class BaseStorage:
    """What the blocking storage shares with the asyncio one: everything that does not wait.

    Args:
        uri: one of the schemes, then as redis-py reads it.
        wrap_exceptions: whether errors of the storage become ``limits.errors.StorageError``.
        client: a client of your own (a cluster's, Sentinel's, valkey-py's) in place of the URI's.
        connection_pool: a pool for the client, in place of the URI.
        key_prefix: the application's, put before every key; ``[A-Za-z0-9_.:-]*``.
        keep_state: whether a limit whose count changes keeps its state. Two limits of one period on the same
            identifiers are then one: a request that hits both is charged twice.
        options: more of redis-py's client, such as ``socket_timeout``.

    Raises:
        ArgumentError: an argument is malformed.
    """

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        client: Any = None,
        connection_pool: Any = None,
        key_prefix: str = "",
        keep_state: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)  # type: ignore[call-arg]
        self._uri, self._client, self._pool, self._options = uri, client, connection_pool, options
        self._key_prefix, self._keep_state = check_prefix(key_prefix), keep_state

    def __repr__(self) -> str:  # the URI may hold a password
        return f"<{type(self).__module__}.{type(self).__qualname__} key_prefix={self._key_prefix!r}>"

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What ``wrap_exceptions`` wraps. A malformed argument stays the caller's."""
        valkey: Any = sys.modules.get("valkey.exceptions")  # its client may have been given
        return redis.RedisError, OSError, StateError, *([valkey.ValkeyError] if valkey else [])

    def _connected(self, kind: Any) -> Any:
        if self._client is not None:
            return self._client
        if self._pool is not None:
            return kind(connection_pool=self._pool, **self._options)
        uri, ours = _OURS.subn("", self._uri or "", count=1)
        try:
            if ours:
                return kind.from_url(uri, **self._options)
        except ValueError:  # its text may hold a part of the password
            pass
        raise ArgumentError("uri", "must be riskscale+redis://[[user]:password@]host[:port][/db]")

    def _limiters(self) -> Limiters[Any]:
        raise NotImplementedError

    def _keys(self, key: str) -> list[bytes]:
        """Where the strategies keep it, one key each."""
        base = self._limiters().hub.key(Item.of(key, self._keep_state).key, argument="key")
        return [f"{base}:rate:{NAME}:{LABEL}:{kind}".encode() for kind in KINDS]

    def _ours(self, hub: BaseHub) -> dict[str, Any]:
        """For SCAN."""
        return {"match": f"{hub.root}:{{*}}:rate:{NAME}:{LABEL}:*", "count": RESET_BATCH}

    def _count(self, key: str, expiry: int, amount: int) -> Flow[int]:
        item = Item.of(key, self._keep_state)
        if amount == 0:
            return (yield from self._counted(key))
        check_cost(amount)
        if item.most == 0:
            return amount
        decision = yield Ask("fixed_window", item.most, item.seconds or expiry, item.key, amount, True)
        used: int = item.most - decision.remaining
        return used if decision.allowed else used + amount

    def _counted(self, key: str) -> Flow[int]:
        remaining: int = (yield self._window(key)).remaining
        return UNBOUNDED - remaining

    def _window(self, key: str) -> Ask:
        item = Item.of(key, self._keep_state)
        return Ask("fixed_window", UNBOUNDED, item.seconds or LONGEST, item.key)

    def _expiry(self, key: str) -> Flow[float]:
        """By the clock of this process: that is what its readers compare it with."""
        life: float
        if Item.of(key, self._keep_state).seconds is None:
            life = max(0, (yield Life(self._keys(key)[0]))) / 1000
        else:
            life = (yield self._window(key)).reset_after
        return time.time() + life

    def _acquire(self, kind: Algorithm, key: str, limit: int, expiry: int, amount: int) -> Flow[bool]:
        if amount == 0:
            return True
        check_cost(amount)
        if limit < 1:
            return False
        key = Item.of(key, self._keep_state).key
        decision = yield Ask(_fitting(kind, limit), min(limit, UNBOUNDED), expiry, key, amount, True)
        return bool(decision)

    def _usage(self, kind: Algorithm, key: str, limit: int, expiry: int) -> Flow[tuple[int, float]]:
        """Units that count, and seconds until the first of them count no more."""
        if limit < 1:
            return 0, 0.0
        ask = Ask(_fitting(kind, limit), min(limit, UNBOUNDED), expiry, Item.of(key, self._keep_state).key)
        decision = yield ask
        used, first = ask.most - decision.remaining, decision.retry_after
        if 0 < decision.remaining < ask.most:
            first = (yield ask._replace(cost=decision.remaining + 1)).retry_after
        return used, first

    def _moving(self, key: str, limit: int, expiry: int) -> Flow[tuple[float, int]]:
        used, first = yield from self._usage("sliding_log", key, limit, expiry)
        return time.time() + (first - expiry if used else 0), used

    def _sliding(self, key: str, expiry: int) -> Flow[tuple[int, float, int, float]]:
        """All of it in the present window, which is not weighed; of its end the strategy takes the modulo."""
        count = Item.of(key, self._keep_state).most
        used, first = yield from self._usage("sliding_window", key, count, expiry)
        return 0, 0.0, used, min(first, expiry * (1 - 2**-52))

    def _clear(self, key: str) -> Flow[None]:
        yield forget(self._keys(key))


def forget(keys: Iterable[bytes | str]) -> Call[int]:
    """How many there were."""
    encoded = tuple(key.encode() if isinstance(key, str) else key for key in keys)
    return Call("rate.reset", encoded, (), lambda reply: sum(was for was in reply if was > 0))


def _fitting(kind: Algorithm, limit: int) -> Algorithm:
    return kind if limit <= MAX_COUNT[kind] else "sliding_window"
