"""The service's own keys in Redis. A tenant's text stands percent-encoded in them: no tenant can name another's key."""

from __future__ import annotations

from urllib.parse import quote


def key(tenant: str, *parts: str) -> str:
    """``risk:{tenant}:part:...``; all keys of a tenant lie in one slot of a cluster."""
    return ":".join(("risk", "{" + quote(tenant, safe="") + "}", *(quote(part, safe="") for part in parts)))
