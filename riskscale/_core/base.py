"""What the asyncio hub and the blocking one share: everything but waiting."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from riskscale._core.call import Call
from riskscale._core.durations import MAX_NOW_US, Duration, integer, seconds
from riskscale._core.keys import CLIENT_CLOCK_LAYOUT, LAYOUT, base_key, check_prefix
from riskscale._core.meter import Meter
from riskscale._core.scripts import Script, names, script
from riskscale.errors import ArgumentError, HubClosed, StateError
from riskscale.typing import MetricsCollector

P = TypeVar("P")

GRACE = 1.0
"""Seconds that a caller who gave up waits for its clean-up before leaving it to the background."""
_forks: list[int] = []
"""Of the process: a look at it costs less than os.getpid(), a system call, at each call."""
os.register_at_fork(after_in_child=lambda: _forks.append(os.getpid()))


class BaseHub:
    """See :class:`riskscale.Hub`."""

    _blocking: bool

    def __init__(
        self,
        client: Any,
        key_prefix: str,
        clock: Callable[[], int] | None,
        metrics: MetricsCollector | None,
        timeout: Duration | None,
        max_in_flight: int,
    ) -> None:
        check_client(client, self._blocking)
        if clock is not None and not callable(clock):
            raise ArgumentError("clock", "must be a callable that returns microseconds, or None")
        self.client = client
        self.clock = clock
        self.metrics = metrics
        self.meter = Meter.of(metrics)
        self.timeout = None if timeout is None else seconds(timeout, "timeout")
        self.max_in_flight = integer(max_in_flight, "max_in_flight", 1, 65536)
        self.root = check_prefix(key_prefix) + (LAYOUT if clock is None else CLIENT_CLOCK_LAYOUT)
        self.is_cluster = hasattr(client, "keyslot")
        self.monotonic = time.monotonic
        self.lasting = True
        """Whether somebody will close it; otherwise nothing may outlive a call, a wait or a held lease."""
        self._parts: dict[Any, Any] = {}
        self._forks = len(_forks)
        self._closed = False

    def __repr__(self) -> str:  # the client's own repr may hold a password
        return f"<{type(self).__module__}.{type(self).__qualname__} root={self.root!r} closed={self._closed}>"

    def key(self, name: str, tag: str | None = None, argument: str = "name") -> str:
        """The part of a key before its role."""
        return base_key(self.root, name, tag, argument)

    def part(self, make: Callable[[Any], P]) -> P:
        """What there is one of per hub, made when it is first wanted, and closed with it."""
        if make not in self._parts:
            self._parts.setdefault(make, make(self))
        part: P = self._parts[make]
        return part

    def slot_of(self, key: bytes) -> int:
        """The cluster slot of a key: calls of several keys stay within one."""
        return int(self.client.keyslot(key)) if self.is_cluster else 0

    @property
    def closed(self) -> bool:
        """Whether the hub takes no more calls."""
        return self._closed

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child of the one that made it."""
        return len(_forks) != self._forks

    def _check_open(self) -> None:
        if self._closed:
            raise HubClosed
        if self.is_forked:
            raise StateError("this hub belongs to the process that made it; make another after a fork")

    def _words(self, call: Call[Any]) -> tuple[Any, ...]:
        """What follows the digest in EVALSHA: the number of keys, the keys, the arguments, now_us."""
        now: str | int = ""
        if self.clock is not None:
            now = self.clock()
            if isinstance(now, bool) or not isinstance(now, int) or not 0 <= now <= MAX_NOW_US:
                raise ArgumentError("clock", f"must return integer microseconds from 0 to 2**52, not {now!r}")
        return len(call.keys), *call.keys, *call.args, now


def check_client(client: Any, blocking: bool) -> None:
    """Refuse a client that cannot run scripts, or that is of the other kind (asyncio, blocking)."""
    if isinstance(client, BaseHub):
        same = client._blocking == blocking
        raise ArgumentError("client", "is a hub already") if same else _of_the_other_kind("hub", blocking)
    for method in ("evalsha", "eval"):
        if not callable(getattr(client, method, None)):
            raise ArgumentError("client", f"must be a Redis or Valkey client, or a hub: it has no {method}()")
    is_async = any(inspect.iscoroutinefunction(getattr(client, name, None)) for name in ("execute_command", "evalsha"))
    if blocking == is_async:
        raise _of_the_other_kind("client", blocking)


def _of_the_other_kind(what: str, blocking: bool) -> ArgumentError:
    if blocking:
        return ArgumentError("client", f"is an asyncio {what}; use riskscale, or give riskscale.sync a blocking one")
    return ArgumentError("client", f"is a blocking {what}; use riskscale.sync, or give riskscale an asyncio one")


def is_noscript(error: Exception) -> bool:
    """Whether the server does not know the digest. By the class's name: valkey-py has a class of its own."""
    return any(kind.__name__ == "NoScriptError" for kind in type(error).__mro__)


def translated(error: Exception) -> Exception:
    """The error that a script's reply stands for, known by its first word; any other as it is."""
    word, _, rest = str(error).partition(" ")
    if word == "RSARG":
        argument, _, rule = rest.partition(" ")
        return ArgumentError(argument, rule)
    if word == "RSSTATE":
        return StateError(rest)
    return error


def raise_translated(error: Exception) -> NoReturn:
    """Raise it: the client's own as it came, a script's as ours with the client's for its cause."""
    ours = translated(error)
    if ours is error:
        raise error
    raise ours from error


def sent_with_wait(pipeline: Any, words: tuple[Any, ...], replicas: tuple[int, float]) -> Any:
    """The pipeline of a script and a WAIT for what it wrote, sent on one connection."""
    least, within = replicas
    pipeline.execute_command(*words)
    pipeline.execute_command("WAIT", least, max(1, round(within * 1000)))
    return pipeline.execute(raise_on_error=False)


def first_error(replies: list[Any]) -> list[Any]:
    """The replies of a pipeline, unless one is an error, which is raised."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def scripts_to_load(only: Iterable[str] | None) -> list[Script]:
    """The scripts named, or all."""
    return [script(name) for name in (names() if only is None else only)]
