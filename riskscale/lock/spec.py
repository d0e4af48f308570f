"""What a Lock was made with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from riskscale._core.call import Call
from riskscale._core.durations import Duration
from riskscale._core.keys import check_name
from riskscale.lease.base import metadata_text
from riskscale.lease.grant import Grant, Seen, lease_us
from riskscale.lock import calls


@dataclass(slots=True, kw_only=True)
class LockSpec:
    """See :class:`riskscale.lease.grant.Spec`."""

    name: str
    keys: calls.LockKeys
    ttl_us: int
    metadata: str = ""
    races: bool = False
    kind: str = "lock"
    renew_script: str = "lock.renew"

    @classmethod
    def of(
        cls,
        name: str,
        keys: calls.LockKeys,
        ttl: Duration,
        metadata: Mapping[str, Any] | str | None,
        fair: bool = True,
    ) -> LockSpec:
        """Check the arguments of a Lock."""
        return cls(name=name, keys=keys, ttl_us=lease_us(ttl), metadata=metadata_text(metadata), races=not fair)

    @property
    def key(self) -> bytes:
        """The hash of the lock."""
        return self.keys.lock

    def acquire(self, grant: Grant, mailbox: str) -> Call[Seen]:
        """``lock.acquire``."""
        return calls.acquire(self.keys, grant.token, self.ttl_us, mailbox, hold=grant.hold, metadata=self.metadata)

    def release(self, grant: Grant) -> Call[tuple[bool, float]]:
        """``lock.release``."""
        return calls.release(self.keys, grant.token, grant.hold)


def owner_token(owner: str | None) -> str:
    """The token of a re-entrant owner, whatever its name is; '' for None."""
    if owner is None:
        return ""
    return f"owner:{hashlib.sha256(check_name(owner, 'owner').encode()).hexdigest()}"
