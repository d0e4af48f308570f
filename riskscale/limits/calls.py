"""The script calls: pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from riskscale._core.call import Call, text
from riskscale._core.durations import MICRO
from riskscale._core.keys import base_key, check_name
from riskscale.limits.text import written

MOST = 512
"""Keys that one call reads."""
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a change.

    Attributes:
        at: when it was made: seconds since 1970 by the clock of the hub (None: the server's).
        was: what was set before, "" if nothing.
        version: rises with each change.
    """

    at: float
    was: str
    version: int


class Found(NamedTuple):
    """What was read: the version, and what is set for each key, "" if nothing."""

    version: int
    texts: list[str]


class Page(NamedTuple):
    """Some of the keys that have limits of their own, and the cursor of the next page; 0: this was the last."""

    cursor: int
    limits: list[tuple[str, str]]


class LimitsCalls:
    """Of the limits called ``name``."""

    def __init__(self, root: str, name: str) -> None:
        self.key = f"{base_key(root, name, None)}:limits".encode()

    def set(self, key: str, limits: str) -> Call[Change]:
        """Give ``key`` limits of its own."""
        written(limits)
        return self._set(key, limits)

    def unset(self, key: str) -> Call[Change]:
        """Take them from it."""
        return self._set(key, "")

    def read(self, keys: Sequence[str]) -> Call[Found]:
        """What is set for each of up to ``MOST`` keys."""
        return Call("limits.read", (self.key,), tuple(check_name(key, "key").encode() for key in keys), _found)

    def list(self, cursor: int) -> Call[Page]:
        """The page from ``cursor`` on, 0 at first."""
        return Call("limits.list", (self.key,), (cursor, PAGE), _page)

    def _set(self, key: str, limits: str) -> Call[Change]:
        return Call("limits.set", (self.key,), (check_name(key, "key").encode(), limits), _change)


def _change(reply: Sequence[Any]) -> Change:
    return Change(reply[1] / MICRO, text(reply[2]), reply[0])


def _found(reply: Sequence[Any]) -> Found:
    return Found(reply[0], [text(each) for each in reply[2:]])


def _page(reply: Sequence[Any]) -> Page:
    words = [text(each) for each in reply[1:]]
    return Page(int(text(reply[0])), list(zip(words[0::2], words[1::2], strict=True)))
