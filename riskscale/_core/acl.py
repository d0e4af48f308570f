"""The least that a server must permit to a client of riskscale."""

from __future__ import annotations

import re

from riskscale._core.keys import CLIENT_CLOCK_LAYOUT, LAYOUT, check_prefix
from riskscale._core.scripts import manifest, of_services
from riskscale.errors import ArgumentError

CLIENT_COMMANDS = ("eval", "evalsha", "script|load", "ping", "subscribe", "unsubscribe", "wait")
"""What the client itself sends. HELLO and AUTH need no permission; redis-py does without CLIENT SETINFO where it is
refused, and servers before 7.2 refuse a rule that names it. A database other than 0 needs ``+select`` besides."""

OPERATOR_COMMANDS = ("scan",)
"""What people send besides, to list what there is."""


def setuser_line(user: str, password: str, prefix: str = "", *, operator: bool = False) -> str:
    """The smallest ACL SETUSER line for running the scripts on the keys of ``prefix``, and nothing else.

    Its words, split at spaces, can be sent as they are. A script may call what its user may call, so these are the
    commands of all scripts, by the manifest; ``operator`` says whether also of those that are for operators, which
    change limits and list what there is. Redis 6.2 and later, and Valkey.

    Raises:
        ArgumentError: ``user`` or ``password`` is empty or has a space or control character.
    """
    check_prefix(prefix)
    _check_word(user, "user")
    _check_word(password, "password")
    roots = [f"{prefix}{layout}:*" for layout in (LAYOUT, CLIENT_CLOCK_LAYOUT)]
    scripts = manifest()["scripts"] if operator else of_services()
    of_client = CLIENT_COMMANDS + (OPERATOR_COMMANDS if operator else ())
    of_scripts = {command.lower() for entry in scripts.values() for command in entry["commands"]}
    words = ["ACL", "SETUSER", user, "reset", "on", f">{password}"]
    words += [f"~{root}" for root in roots]
    words += ["resetchannels", *(f"&{root}" for root in roots)]  # before 7.0 `reset` leaves all channels open
    words += [f"+{command}" for command in sorted(of_scripts.union(of_client))]
    return " ".join(words)


def _check_word(value: str, argument: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", value):
        raise ArgumentError(argument, "must be text without spaces or control characters")
