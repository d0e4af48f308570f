"""What a Semaphore, or one side of a ReadWriteLock, was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from riskscale._core.call import Call
from riskscale._core.durations import Duration, integer
from riskscale.lease.base import metadata_text
from riskscale.lease.grant import Grant, Seen, lease_us
from riskscale.semaphore import calls

MOST = 1_000_000_000
MOST_QUEUED = 1_000_000
WRITER = 1_000_000
"""The weight of a writer, and the limit: as many may read at once. Releases that share a lock agree on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemaphoreSpec:
    """See :class:`riskscale.lease.grant.Spec`."""

    name: str
    keys: calls.SemaphoreKeys
    ttl_us: int
    limit: int
    weight: int = 1
    max_queued: int | None = None
    metadata: str = ""
    races: bool = False
    kind: str = "semaphore"
    renew_script: str = "semaphore.renew"

    @classmethod
    def of(
        cls, name: str, base: str, limit: int, ttl: Duration, metadata: Mapping[str, Any] | str | None
    ) -> SemaphoreSpec:
        """Check the arguments of a Semaphore."""
        return cls(
            name=name,
            keys=calls.SemaphoreKeys.of(base),
            ttl_us=lease_us(ttl),
            limit=integer(limit, "limit", 1, MOST),
            metadata=metadata_text(metadata),
        )

    @classmethod
    def of_rw(cls, name: str, base: str, ttl: Duration, metadata: Mapping[str, Any] | str | None) -> SemaphoreSpec:
        """Check the arguments of a ReadWriteLock; this is a reader's."""
        keys = calls.SemaphoreKeys.of(base, "rw")
        ttl_us, metadata = lease_us(ttl), metadata_text(metadata)
        return cls(name=name, keys=keys, ttl_us=ttl_us, limit=WRITER, metadata=metadata, kind="lock")

    @classmethod
    def of_bulkhead(
        cls,
        name: str,
        base: str,
        limit: int,
        max_queued: int,
        ttl: Duration,
        metadata: Mapping[str, Any] | str | None,
    ) -> SemaphoreSpec:
        """Check the arguments of a SharedBulkhead."""
        return cls(
            name=name,
            keys=calls.SemaphoreKeys.of(base, "bulkhead"),
            ttl_us=lease_us(ttl),
            limit=integer(limit, "limit", 1, MOST),
            max_queued=integer(max_queued, "max_queued", 0, MOST_QUEUED),
            metadata=metadata_text(metadata),
            kind="bulkhead",
        )

    def weighing(self, weight: int) -> SemaphoreSpec:
        """The same for another weight; ArgumentError if that can never be had."""
        integer(weight, "weight", 1, self.limit)
        return self if weight == self.weight else replace(self, weight=weight)

    @property
    def key(self) -> bytes:
        """The hash of the semaphore."""
        return self.keys.semaphore

    def acquire(self, grant: Grant, mailbox: str) -> Call[Seen]:
        """``semaphore.acquire``."""
        return calls.acquire(
            self.keys,
            grant.token,
            self.ttl_us,
            mailbox,
            weight=self.weight,
            limit=self.limit,
            max_queued=self.max_queued,
            metadata=self.metadata,
        )

    def release(self, grant: Grant) -> Call[tuple[bool, float]]:
        """``semaphore.release``."""
        return calls.release(self.keys, grant.token)
