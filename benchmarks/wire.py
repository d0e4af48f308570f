"""What a call sends, and what it costs the server, as the server itself tells it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Shape = tuple[tuple[int, int], ...]
"""(keys, arguments) of each command that an operation sends."""

_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_HANDSHAKE = {b"HELLO", b"CLIENT", b"SELECT", b"AUTH", b"SCRIPT"}
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


def server_us(client: Any, act: Callable[[], object]) -> float:
    """Microseconds that the server spent on ``act``, by INFO commandstats.

    A script's time holds that of the commands it runs, which are counted again under their own names; so where there
    are scripts they alone count. What this client itself asks in between does not.
    """
    client.config_resetstat()
    act()
    stats = {name.removeprefix("cmdstat_"): each["usec"] for name, each in client.info("commandstats").items()}
    scripts = stats.get("evalsha", 0) + stats.get("eval", 0)
    return float(scripts or sum(us for name, us in stats.items() if not name.startswith(("config", "info"))))


def _keys_and_arguments(words: list[bytes]) -> tuple[int, int]:
    if words[0].upper() in (b"EVALSHA", b"EVAL"):
        keys = int(words[2])
        return keys, len(words) - 3 - keys
    return 1, max(len(words) - 2, 0)
