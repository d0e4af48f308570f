"""The idempotency guard for asyncio."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Unpack

from riskscale._core.data import as_bytes
from riskscale._core.durations import Duration
from riskscale._core.hub import Hub, hub_of
from riskscale.errors import ArgumentError, LeaseLost
from riskscale.idempotency import attempt as flows
from riskscale.idempotency.attempt import Attempt
from riskscale.idempotency.base import BaseGuard, result_of
from riskscale.idempotency.calls import NOWHERE, Begun, InProgress, Kept, Mismatch, Replay, kept_here
from riskscale.lease.base import LeaseTerms
from riskscale.lease.grant import Grant
from riskscale.lease.lease import Lease
from riskscale.typing import ResultStore

log = logging.getLogger("riskscale.idempotency")
Result = str | bytes


class Claim(Lease):
    """The work of a key is this caller's to do, for as long as the lease lasts; it is renewed while it is held.

    ``async with claim:`` abandons it at the end, unless it was completed: by an exception nothing was done, so the next
    caller does the work anew; where the block is cancelled, or :meth:`complete` had been called, it is unknown.
    """

    def __init__(self, guard: IdempotencyGuard, grant: Grant, attempt: Attempt) -> None:
        self._guard, self._attempt = guard, attempt
        super().__init__(guard._hub, [grant], guard._terms, attempt.name)

    @property
    def unknown(self) -> int:
        """How many attempts before this one ended without a word: their process died, or was cut off in its work. More
        than 0: ask what the work changes whether it has been done, before doing it."""
        return self._attempt.begun.unknown

    async def complete(self, response: Result | None, *, strict: bool = True) -> None:
        """Keep the result, for everybody who comes with this key. A second call does nothing; after an error of the
        client it can be repeated.

        Args:
            response: text (UTF-8) or bytes; None: that the work was done, and nothing else.
            strict: False: a result that is too large, or that the store does not take, is dropped, with a warning.

        Raises:
            LeaseLost: another attempt has taken over, and its result will be kept; nothing was changed.
            ArgumentError: ``response`` is no text or bytes, or too large; the claim is still held.
        """
        kept = await self._kept(response, strict)
        watched = bool(self._watches)
        self._unwatch()  # a renewal that comes after the end would say that it is lost
        try:
            await self._hub.drive(flows.complete(self._attempt, self._grant, kept))
        except LeaseLost:
            self._hear()
            raise
        finally:
            self._end()
            if watched and not self._settled and not self._was_told:
                self._watch()

    async def abandon(self, *, unknown: bool = False) -> None:
        """End it without a result: the next caller does the work, at once.

        Args:
            unknown: whether it may have been done all the same, which the next attempt hears of.

        Raises:
            LeaseLost: another attempt has taken over.
        """
        self._attempt.left = "unknown" if unknown else "nothing"
        await self.release()

    async def give_back(self) -> None:
        """The hub closes: the work may go on, so its lease is left to end by itself."""
        self._count_end()
        self._unwatch()
        self._was_told = True
        if self._lost is not None:
            self._lost.set()

    async def __aenter__(self) -> Claim:
        await super().__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._attempt.left = "unknown"
        await super().__aexit__(kind, error, trace)

    async def _kept(self, response: Result | None, strict: bool) -> Kept:
        self._attempt.left = "unknown"  # the work was done, or nobody would complete it
        if response is None:
            return NOWHERE
        data = as_bytes(response, "response")
        try:
            if self._guard._fits(data):
                return kept_here(data)
            await self._guard._store.put(self.token, data, self._guard._store_ttl)
        except Exception as error:
            if strict:
                raise
            log.warning("the result of %r, %d bytes, is not kept: %s", self.name, len(data), type(error).__name__)
            return NOWHERE
        return Kept("elsewhere", self.token.encode())


class IdempotencyGuard(BaseGuard):
    """Work that is done once for a key, however often it is asked for; who comes later gets the same result.

    ::

        guard = IdempotencyGuard(hub, "payments")
        body = await guard.run("tenant-7", key, request_body, pay)

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: whose keys they are; any text. Guards of different names do not meet.
        ttl: seconds (or timedelta) after which the next caller takes over from one that died.
        keep: seconds for which a key is known after its work has ended; a day unless said, 366 days at the most.
        max_bytes: the largest result that is kept in Redis; 786,432 at the most.
        store: where larger ones are kept, a :class:`riskscale.ResultStore`. None: they are refused.
        terms: how a claim is kept; see :class:`riskscale.lease.base.LeaseTerms`. It is renewed unless they say
            ``auto_renew=False``.

    Raises:
        ArgumentError: an argument is malformed.

    The key belongs to a tenant: nobody gets the result of another tenant, whatever key is sent. A server that forgets
    its keys lets the work be done again.
    """

    def __init__(
        self,
        client: Any,
        name: str = "default",
        *,
        ttl: Duration = 30,
        keep: Duration = 86400,
        max_bytes: int = 65536,
        store: ResultStore | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        self._hub: Hub = hub_of(client)
        super().__init__(self._hub, name, ttl, keep, max_bytes, store, terms)

    async def begin(
        self, tenant: str, key: str, fingerprint: str | bytes, *, wait: Duration = 0
    ) -> Claim | Replay | InProgress | Mismatch:
        """Begin the work of a key, or learn what came of it. In one round trip, unless it waits.

        Args:
            tenant: whose key it is, any text; never what a client can choose freely.
            key: what names the work, 1 to 255 characters, as the client sent it.
            fingerprint: what was asked for, such as the request's body; only its SHA-256 is kept.
            wait: seconds to wait for somebody who does the work now.

        Returns:
            A :class:`Claim`: do the work, and complete or abandon it. Else a :class:`Replay`, :class:`InProgress`
            or :class:`Mismatch`.

        Raises:
            ArgumentError: an argument is malformed.
            StateError: the key of it in Redis holds something else.
            Whatever a lease's ``acquire`` raises; the work has not begun then.
        """
        begun = await self._hub.drive(self._begin(tenant, key, fingerprint, wait, partial(Claim, self)))
        if not isinstance(begun, Begun):
            return begun
        seen = self._seen(begun)
        if isinstance(seen, Replay) and begun.place == "elsewhere":
            data = await self._store.get(begun.data.decode()) if self._store is not None else None
            return Replay(response=data, expires_in=seen.expires_in)
        return seen

    async def run(
        self,
        tenant: str,
        key: str,
        fingerprint: str | bytes,
        func: Callable[[Claim], Awaitable[Result] | Result],
        *,
        wait: Duration = 0,
    ) -> bytes:
        """Call ``func`` with its :class:`Claim`, unless the work was done before; the result, the same for all.

        Where ``func`` raises, nothing is kept and the next caller does the work; where it is cancelled, that one hears
        that the outcome is unknown (``claim.unknown``). A result that cannot be kept is given back to this caller, and
        later ones learn that there was one.

        Args:
            tenant, key, fingerprint, wait: as of :meth:`begin`.
            func: may be a coroutine function; returns text (UTF-8) or bytes.

        Raises:
            IdempotencyConflict: the work is under way (after ``wait`` seconds), the key was used for another request,
                or the result is not kept.
            LeaseLost: another attempt has taken over meanwhile, and its result will be kept.
            Whatever :meth:`begin` raises, and whatever ``func`` raises.
        """
        if not callable(func):
            raise ArgumentError("func", "must be callable")
        begun = await self.begin(tenant, key, fingerprint, wait=wait)
        if not isinstance(begun, Claim):
            return result_of(key, begun)
        async with begun as claim:
            result = func(claim)
            if inspect.isawaitable(result):
                result = await result
            claim._attempt.left = "unknown"  # it was done, whatever goes wrong from here on
            data = as_bytes(result, "the result of func")
            await claim.complete(data, strict=False)
        return data
