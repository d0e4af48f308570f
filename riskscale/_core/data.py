"""Values that callers give to be kept: checked at the door, bytes inside."""

from __future__ import annotations

from riskscale.errors import ArgumentError


def as_bytes(value: str | bytes, argument: str) -> bytes:
    """Text as UTF-8, bytes as they are; ArgumentError otherwise."""
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise ArgumentError(argument, "must be text that UTF-8 can encode") from None
    if not isinstance(value, bytes):
        raise ArgumentError(argument, f"must be text or bytes, not {type(value).__name__}")
    return value
