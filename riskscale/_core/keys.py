"""Key names that cannot be forged: ``<prefix>rs1:{<tag>}:<name>:<role>``.

``rs1`` is the version of the layout: old and new releases run side by side. ``rs1c`` is the same for hubs with a
clock of their own, whose stored times mean nothing to the others.
"""

from __future__ import annotations

import re

from riskscale.errors import ArgumentError

LAYOUT = "rs1"
CLIENT_CLOCK_LAYOUT = "rs1c"

_PREFIX = re.compile(r"[A-Za-z0-9_.:-]*\Z")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_IN_TAG = re.compile(r"[\x00-\x20\x7f{}%]")
_BASE = re.compile(r":\{([^{}]+)\}(?::([^{}:]+))?")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")
_IN_NAME = re.compile(r"[\x00-\x20\x7f{}%:]")


def _escape(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def check_prefix(prefix: str) -> str:
    """The application's key prefix, or ArgumentError."""
    if not isinstance(prefix, str) or not _PREFIX.match(prefix):
        raise ArgumentError("key_prefix", "must be text of A-Z a-z 0-9 _ . : -")
    return prefix


def check_name(name: str, argument: str) -> str:
    """A name as its caller gave it, or ArgumentError naming ``argument``."""
    if not isinstance(name, str):
        raise ArgumentError(argument, f"must be text, not {type(name).__name__}")
    if not name:
        raise ArgumentError(argument, "must not be empty")
    if _SURROGATE.search(name):
        raise ArgumentError(argument, "must be text that UTF-8 can encode")
    return name


def tag_part(name: str, argument: str = "name") -> str:
    """``{name}``, the part of a key that decides its cluster slot."""
    return "{" + _IN_TAG.sub(_escape, check_name(name, argument)) + "}"


def name_part(name: str, argument: str = "name") -> str:
    """A name outside the braces, where a colon separates."""
    return _IN_NAME.sub(_escape, check_name(name, argument))


def base_key(root: str, name: str, tag: str | None, argument: str = "name") -> str:
    """The part before the role: ``root`` is ``<prefix>rs1``; without a tag the name is the tag, written once."""
    if tag is None:
        return f"{root}:{tag_part(name, argument)}"
    return f"{root}:{tag_part(tag, 'tag')}:{name_part(name, argument)}"


def names_of(root: str, base: str) -> tuple[str, str | None] | None:
    """The name and the tag that :func:`base_key` made ``base`` of; None where it made it of none."""
    match = _BASE.fullmatch(base.removeprefix(root)) if base.startswith(root) else None
    if match is None:
        return None
    tag, name = _unescape(match[1]), _unescape(match[2] or "")
    found = (name, tag) if name else (tag, None)
    return found if base_key(root, *found) == base else None


def parts_of(root: str, key: bytes | str) -> tuple[str, str | None, str] | None:
    """The name, the tag and the role of a key of the hub with that root; None where it is another's."""
    try:
        base, _, role = (key.decode() if isinstance(key, bytes) else key).rpartition(":")
    except UnicodeDecodeError:
        return None
    found = names_of(root, base)
    return None if found is None else (*found, role)
