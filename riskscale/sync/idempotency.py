"""The idempotency guard for threads; see :mod:`riskscale.idempotency.guard`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

from riskscale._core.data import as_bytes
from riskscale._core.durations import Duration
from riskscale.errors import ArgumentError, LeaseLost
from riskscale.idempotency import attempt as flows
from riskscale.idempotency.attempt import Attempt
from riskscale.idempotency.base import BaseGuard, result_of
from riskscale.idempotency.calls import NOWHERE, Begun, InProgress, Kept, Mismatch, Replay, kept_here
from riskscale.lease.base import LeaseTerms
from riskscale.lease.grant import Grant
from riskscale.sync.hub import Hub, hub_of
from riskscale.sync.lease import Lease
from riskscale.typing import SyncResultStore

log = logging.getLogger("riskscale.idempotency")
Result = str | bytes


class Claim(Lease):
    """The work of a key is this caller's to do; see :class:`riskscale.Claim`."""

    def __init__(self, guard: IdempotencyGuard, grant: Grant, attempt: Attempt) -> None:
        self._guard, self._attempt = guard, attempt
        super().__init__(guard._hub, [grant], guard._terms, attempt.name)

    @property
    def unknown(self) -> int:
        """See :attr:`riskscale.Claim.unknown`."""
        return self._attempt.begun.unknown

    def complete(self, response: Result | None, *, strict: bool = True) -> None:
        """See :meth:`riskscale.Claim.complete`."""
        kept = self._kept(response, strict)
        watched = bool(self._watches)
        self._unwatch()  # a renewal that comes after the end would say that it is lost
        try:
            self._hub.drive(flows.complete(self._attempt, self._grant, kept))
        except LeaseLost:
            self._hear()
            raise
        finally:
            self._end()
            if watched and not self._settled and not self._was_told:
                self._watch()

    def abandon(self, *, unknown: bool = False) -> None:
        """See :meth:`riskscale.Claim.abandon`."""
        self._attempt.left = "unknown" if unknown else "nothing"
        self.release()

    def give_back(self) -> None:
        """See :meth:`riskscale.Claim.give_back`."""
        self._count_end()
        self._unwatch()
        self._was_told = True
        if self._lost is not None:
            self._lost.set()

    def __enter__(self) -> Claim:
        super().__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._attempt.left = "unknown"
        super().__exit__(kind, *rest)

    def _kept(self, response: Result | None, strict: bool) -> Kept:
        self._attempt.left = "unknown"  # the work was done, or nobody would complete it
        if response is None:
            return NOWHERE
        data = as_bytes(response, "response")
        try:
            if self._guard._fits(data):
                return kept_here(data)
            self._guard._store.put(self.token, data, self._guard._store_ttl)
        except Exception as error:
            if strict:
                raise
            log.warning("the result of %r, %d bytes, is not kept: %s", self.name, len(data), type(error).__name__)
            return NOWHERE
        return Kept("elsewhere", self.token.encode())


class IdempotencyGuard(BaseGuard):
    """Work that is done once for a key, for a blocking client; see :class:`riskscale.IdempotencyGuard`."""

    def __init__(
        self,
        client: Any,
        name: str = "default",
        *,
        ttl: Duration = 30,
        keep: Duration = 86400,
        max_bytes: int = 65536,
        store: SyncResultStore | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        self._hub: Hub = hub_of(client)
        super().__init__(self._hub, name, ttl, keep, max_bytes, store, terms)

    def begin(
        self, tenant: str, key: str, fingerprint: str | bytes, *, wait: Duration = 0
    ) -> Claim | Replay | InProgress | Mismatch:
        """See :meth:`riskscale.IdempotencyGuard.begin`."""
        begun = self._hub.drive(self._begin(tenant, key, fingerprint, wait, partial(Claim, self)))
        if not isinstance(begun, Begun):
            return begun
        seen = self._seen(begun)
        if isinstance(seen, Replay) and begun.place == "elsewhere":
            data = self._store.get(begun.data.decode()) if self._store is not None else None
            return Replay(response=data, expires_in=seen.expires_in)
        return seen

    def run(
        self,
        tenant: str,
        key: str,
        fingerprint: str | bytes,
        func: Callable[[Claim], Result],
        *,
        wait: Duration = 0,
    ) -> bytes:
        """See :meth:`riskscale.IdempotencyGuard.run`."""
        if not callable(func):
            raise ArgumentError("func", "must be callable")
        begun = self.begin(tenant, key, fingerprint, wait=wait)
        if not isinstance(begun, Claim):
            return result_of(key, begun)
        with begun as claim:
            result = func(claim)
            claim._attempt.left = "unknown"  # it was done, whatever goes wrong from here on
            data = as_bytes(result, "the result of func")
            claim.complete(data, strict=False)
        return data
