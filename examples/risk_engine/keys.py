"""The service's own keys in Redis. A tenant's text stands percent-encoded in them: no tenant can name another's key."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of one service begin with ``prefix``."""

    prefix: str = ""

    def of(self, tenant: str, *parts: str) -> str:
        """``risk:{tenant}:part:...``; all keys of a tenant lie in one slot of a cluster."""
        named = ":".join(quote(part, safe="") for part in parts)
        return f"{self.prefix}risk:{{{quote(tenant, safe='')}}}:{named}"

    def stream(self, partition: int) -> str:
        """The results of a partition's tenants."""
        return f"{self.prefix}risk:results:{partition}"

    @property
    def dead(self) -> str:
        """Entries of those streams that are no results, or could not be handled."""
        return f"{self.prefix}risk:dead"
