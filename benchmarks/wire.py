"""What a call sends, and what it costs the server, as the server itself tells it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Shape = tuple[tuple[int, int], ...]
"""(keys, arguments) of each command that an operation sends."""

_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_HANDSHAKE = {b"HELLO", b"CLIENT", b"SELECT", b"AUTH", b"SCRIPT"}
_SCRIPTS = ("evalsha", "eval")
_END = b"benchmarks-end"


def sent(client: Any, act: Callable[[], object]) -> list[list[bytes]]:
    """The commands that ``act`` sends, by MONITOR; not those that scripts run inside the server."""
    commands: list[list[bytes]] = []
    with client.monitor() as monitor:
        act()
        client.echo(_END)
        while True:
            line: bytes = monitor.connection.read_response()
            words = _WORD.findall(line)
            if words[-1] == _END:
                return commands
            if b" lua]" not in line.split(b'"', 1)[0] and words[0].upper() not in _HANDSHAKE:
                commands.append(words)


def shape(commands: list[list[bytes]]) -> Shape:
    """The same for each command that a bare EVALSHA must resemble; what is no EVALSHA counts as having one key."""
    return tuple(_keys_and_arguments(words) for words in commands)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the server did: how often it ran each command, and for how many microseconds."""

    commands: dict[str, int]
    us: dict[str, int]

    @property
    def scripts(self) -> int:
        """Of all commands those that were sent as scripts."""
        return sum(self.commands.get(name, 0) for name in _SCRIPTS)

    @property
    def total_us(self) -> int:
        """A script's time holds that of the commands it runs; so where there are scripts they alone count."""
        return sum(self.us.get(name, 0) for name in _SCRIPTS) or sum(self.us.values())


def cost(client: Any, act: Callable[[], object]) -> Cost:
    """Of ``act``, by INFO commandstats before and after; what this client itself asks in between does not count."""
    before = _commandstats(client)
    act()
    after = _commandstats(client)

    def more(field: str) -> dict[str, int]:
        grown = {name: each[field] - before.get(name, {}).get(field, 0) for name, each in after.items()}
        return {name: count for name, count in grown.items() if count}

    return Cost(more("calls"), more("usec"))


def _commandstats(client: Any) -> dict[str, dict[str, int]]:
    stats = {name.removeprefix("cmdstat_"): each for name, each in client.info("commandstats").items()}
    return {name: each for name, each in stats.items() if name != "info"}


def _keys_and_arguments(words: list[bytes]) -> tuple[int, int]:
    if words[0].upper() in (b"EVALSHA", b"EVAL"):
        keys = int(words[2])
        return keys, len(words) - 3 - keys
    return 1, max(len(words) - 2, 0)
