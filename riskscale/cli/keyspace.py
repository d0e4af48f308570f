"""What people look after on a server, found by its keys: for ``riskscale locks``, ``breakers`` and ``limits``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from redis.exceptions import RedisError

from riskscale.cli import server
from riskscale.cli.errors import Failure, is_noperm
from riskscale.cli.screen import one_line
from riskscale.errors import StateError
from riskscale.sync import Hub

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


@contextmanager
def connected_hub(url: str, prefix: str) -> Iterator[Hub]:
    """A hub on that server; its errors become one line."""
    with server.connected(url) as client, Hub(client, key_prefix=prefix) as hub:
        yield hub


def found(hub: Hub, patterns: Iterable[str], named: Callable[[bytes | str], T | None]) -> set[T]:
    """All whose keys match one of the patterns, by what ``named`` makes of a key. SCAN may name one twice."""
    keys = (key for pattern in patterns for key in hub.client.scan_iter(match=pattern, count=1000))
    try:
        return {name for key in keys if (name := named(key)) is not None}
    except RedisError as error:
        if is_noperm(error):  # a client of the library needs no SCAN, so the smallest user has none
            hint = "`riskscale scripts acl --operator` prints a user who has it"
            raise Failure(f"list: this user may not SCAN: it needs +scan, and {hint}") from None
        raise


def inspected(items: Iterable[T], look: Callable[[T], R], name: Callable[[T], str]) -> Iterator[tuple[T, R]]:
    """Each with what there is to see of it, save those whose keys hold something else: one must not hide the others."""
    foreign = []
    for item in items:
        try:
            yield item, look(item)
        except (StateError, ValueError, OverflowError):
            foreign.append(name(item))
    if foreign:
        keys = "1 name has keys" if len(foreign) == 1 else f"{len(foreign)} names have keys"
        print(f"riskscale: left out: {keys} of another type or content, as {one_line(foreign[0])}", file=sys.stderr)
