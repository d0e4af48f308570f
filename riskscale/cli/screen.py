"""How things are shown."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from riskscale.cli.errors import printable

PIPE_WIDTH = 160
LAST = int(datetime.max.replace(microsecond=0, tzinfo=UTC).timestamp())


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:  # rich would exit by itself; the command decides
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """A console; where nobody looks at it, wide enough for a table's rows."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return _Console(stderr=stderr, width=None if terminal else PIPE_WIDTH, highlight=False)


def plain(text: str, style: str = "") -> Text:
    """Text as it is: no markup, no control characters."""
    return Text(printable(text), style=style)


def one_line(text: str) -> str:
    """The same for text that must not break the line: a line of its own would pass for another row, or for ours."""
    return printable(text).replace("\n", "\\n")


def when(at_us: int) -> str:
    """A time for people, in UTC, to the second."""
    return _moment(at_us // 1_000_000).strftime("%Y-%m-%d %H:%M:%S")


def iso(at_us: int | None) -> str | None:
    """A time for programs: RFC 3339 in UTC."""
    if at_us is None:
        return None
    whole, rest = divmod(at_us, 1_000_000)
    return _moment(whole).strftime("%Y-%m-%dT%H:%M:%S") + (f".{rest:06d}Z" if rest else "Z")


def _moment(at: int) -> datetime:
    """A key may say anything: what lies beyond the calendar is at its end."""
    return datetime.fromtimestamp(min(max(0, at), LAST), UTC)
