"""Names of processes that no other process has had."""

from __future__ import annotations

import os
import re
import secrets
import socket


def new_node() -> str:
    """A name that no other process has had: for people, the host and the process; for certain, a random part."""
    return f"{here()}-{os.getpid()}-{secrets.token_hex(6)}"


def here() -> str:
    """This host, as a part of a token."""
    return token_part(socket.gethostname()) or "host"


def token_part(text: str) -> str:
    """As much of it as a token may hold."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:48]
