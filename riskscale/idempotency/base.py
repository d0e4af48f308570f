"""What the guard for asyncio shares with the blocking one: everything that does not wait."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from riskscale._core.base import BaseHub
from riskscale._core.call import Flow
from riskscale._core.data import as_bytes
from riskscale._core.durations import MAX_TTL_US, MICRO, Duration, integer, microseconds, seconds
from riskscale._core.keys import check_name
from riskscale.errors import ArgumentError, IdempotencyConflict
from riskscale.idempotency.attempt import Attempt, begin
from riskscale.idempotency.calls import (
    IN_PROGRESS,
    MISMATCH,
    NEW,
    OUTCOMES,
    Begun,
    InProgress,
    Mismatch,
    Replay,
    record_key,
)
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lease.grant import Grant, lease_us, new_token

C = TypeVar("C")
LONGEST_KEY = 255
MOST_BYTES = 786_432
"""As many fill what ``idempotency.complete`` takes, in base64."""


class BaseGuard:
    """See :class:`riskscale.IdempotencyGuard`."""

    _hub: BaseHub

    def __init__(
        self, hub: BaseHub, name: str, ttl: Duration, keep: Duration, max_bytes: int, store: Any, terms: LeaseTerms
    ) -> None:
        self._name = check_name(name, "name")
        self._ttl_us = lease_us(ttl)
        self._keep_us = microseconds(keep, "keep", 1000, MAX_TTL_US)
        self._max_bytes = integer(max_bytes, "max_bytes", 0, MOST_BYTES)
        for method in ("put", "get") if store is not None else ():
            if not callable(getattr(store, method, None)):
                raise ArgumentError("store", f"must be a ResultStore, or None: it has no {method}()")
        self._store = store
        self._terms = Terms.of(hub, **LeaseTerms(auto_renew=True) | terms)

    @property
    def name(self) -> str:
        """The name it was made with."""
        return self._name

    @property
    def keep(self) -> float:
        """Seconds for which a key is known after its work is done. Publish it: after that a repeat is done again."""
        return self._keep_us / MICRO

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r}>"

    def _attempt(self, tenant: str, key: str, fingerprint: str | bytes) -> Attempt:
        if len(check_name(key, "key")) > LONGEST_KEY:
            raise ArgumentError("key", f"must be at most {LONGEST_KEY} characters, not {len(key)}")
        return Attempt(
            name=key,
            key=record_key(self._hub.root, self.name, tenant, key),
            fingerprint=hashlib.sha256(as_bytes(fingerprint, "fingerprint")).hexdigest(),
            ttl_us=self._ttl_us,
            keep_us=self._keep_us,
        )

    def _begin(
        self,
        tenant: str,
        key: str,
        fingerprint: str | bytes,
        wait: Duration,
        claim: Callable[[Grant, Attempt], C],
    ) -> Flow[C | Begun]:
        """A claim, or what is seen of the attempt of another."""
        attempt = self._attempt(tenant, key, fingerprint)
        grant, timeout, replicas = Grant(spec=attempt, token=new_token()), seconds(wait, "wait"), self._terms.replicas
        begun = yield from begin(attempt, grant, timeout, self._hub.monotonic, lambda: claim(grant, attempt), replicas)
        if self._hub.meter is not None:
            self._hub.meter.increment("idempotency_begins", guard=self.name, outcome=OUTCOMES[attempt.begun.outcome])
        return begun

    def _seen(self, begun: Begun) -> Replay | InProgress | Mismatch:
        """What is told of an attempt that is not the caller's; of a result kept elsewhere its name."""
        if begun.outcome == MISMATCH:
            return Mismatch()
        if begun.outcome in (IN_PROGRESS, NEW):  # NEW: the reply came later than its lease is long, and is given back
            return InProgress(remaining=begun.remaining if begun.outcome == IN_PROGRESS else 0.0)
        return Replay(response=None if begun.place == "nowhere" else begun.data, expires_in=begun.expires_in)

    def _fits(self, data: bytes) -> bool:
        """Whether a result is kept in the record; ArgumentError where it is too large and there is no store."""
        if len(data) <= self._max_bytes:
            return True
        if self._store is None:
            rule = f"must be at most {self._max_bytes} bytes, not {len(data)}, where there is no store"
            raise ArgumentError("response", rule)
        return False

    @property
    def _store_ttl(self) -> float:
        """Seconds: the result is there before its record, and must not go before it."""
        return (self._keep_us + self._ttl_us) / MICRO + 60


def result_of(key: str, seen: Replay | InProgress | Mismatch) -> bytes:
    """The result of a replay; IdempotencyConflict where there is none."""
    match seen:
        case Mismatch():
            raise IdempotencyConflict(key, "mismatch")
        case InProgress():
            raise IdempotencyConflict(key, "in_progress", seen.remaining)
    if seen.response is None:
        raise IdempotencyConflict(key, "not_kept")
    return seen.response
