"""What the user is told when a command cannot go on: one line."""

from __future__ import annotations

import re
import zlib

from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from riskscale.errors import RiskscaleError

USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
"""128 + SIGPIPE, as the shell reports it for other programs."""

_CONNECTING = re.compile(r"^(Error -?\d+ (while writing to|connecting to|while reading from) \S+\.? *:? *)+")
_NO_PASSWORD = ("HELLO must be called with the client already authenticated", "Authentication required")
ACL_HINT = "`riskscale scripts acl` prints what a user needs, with --operator for operators"


class Failure(Exception):
    """Ends the command with this line."""


def explain(error: BaseException) -> str | None:
    """The line for an error that is the user's or the server's; None for one of the program's own."""
    if isinstance(error, (Failure, RiskscaleError)):
        text = str(error)
    elif isinstance(error, RedisError):
        text = f"the server: {server_words(error)}"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif callable(getattr(error, "format_message", None)):  # usage errors of typer, old (click's) and new (its own)
        text = error.format_message()  # type: ignore[attr-defined]
    else:
        return None
    return " ".join(printable(text).split())


def server_words(error: Exception) -> str:
    """A Redis error in a few words, without the address (which the caller says) and never with a secret."""
    words = _CONNECTING.sub("", str(error)).strip().rstrip(".")
    if is_noperm(error):
        return f"{words}; {ACL_HINT}"
    if is_refused(error) and words.startswith(_NO_PASSWORD):
        return "it requires a password, and the URL has none: redis://[user]:password@host"
    if words:
        return words
    return "no answer in time" if isinstance(error, RedisTimeoutError) else "no connection"


def is_noperm(error: Exception) -> bool:
    """Whether the ACL forbids it; a command inside a script says so without a code, each server in its own words."""
    inside = ("NOPERM", "ACL failure in script", "The user executing the script can't")
    return type(error).__name__ == "NoPermissionError" or any(words in str(error) for words in inside)


def is_refused(error: Exception) -> bool:
    """Whether the server answered, and does not take the user or the password, which is an error of the connection."""
    return isinstance(error, AuthenticationError)


def is_unreachable(error: Exception) -> bool:
    """Whether nobody answered, or the server refused the user."""
    return isinstance(error, (RedisConnectionError, RedisTimeoutError))


def printable(text: str) -> str:
    """``text`` without what a terminal would obey: keys and paths of a log are written by strangers."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


GZIP_ERRORS = (EOFError, zlib.error)
"""What gzip raises for a damaged file besides OSError."""
