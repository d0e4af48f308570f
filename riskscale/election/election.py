"""The election for asyncio."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Unpack

from riskscale._core.durations import Duration
from riskscale._core.hub import hub_of
from riskscale.election.base import BaseElection, log
from riskscale.errors import HubClosed
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms
from riskscale.lease.grant import Grant
from riskscale.lease.lease import Lease
from riskscale.lock import calls
from riskscale.lock.calls import LockInfo


class Election(BaseElection):
    """One leader at a time among those who run for ``name``, term after term.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        name: what is led; apart from the locks of that name.
        ttl: seconds after which a leader that is gone is replaced; the leader renews at a third of it.
        tag: text that decides the cluster slot in place of the name.
        metadata: what others may read of the leader; see :class:`riskscale.Lock`.
        on_elected: called with the term at its begin; may be a coroutine function.
        terms: ``on_lost``, ``max_lifetime`` and the others of :class:`riskscale.lease.base.LeaseTerms`.

    ::

        async for term in election.terms():  # waits until elected
            await lead(term.fence, until=term.lost)

    A term is a :class:`riskscale.Lease`: ``term.fence``, which rises from term to term, is its number; ``term.lost`` is
    set when it is over: lost, or resigned. The end of the loop's body resigns, and runs anew behind those who wait.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        ttl: Duration,
        tag: str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        on_elected: Callable[[Any], Any] | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        self._hub = hub_of(client)
        self._term: Lease | None = None
        super().__init__(self._hub, name, ttl, tag, metadata, on_elected, terms)

    @property
    def term(self) -> Lease | None:
        """The present term, while this object leads."""
        return None if self._term is None or self._term.over else self._term

    async def terms(self) -> AsyncGenerator[Lease, None]:
        """The terms of this object, one after the other, until the hub is closed.

        A server that is not to be had is waited for.

        Raises:
            StateError: a key of the election holds something else.
        """
        while True:
            try:
                term = await self._hub.drive(self._run())
            except HubClosed:
                return
            except Exception as error:
                try:
                    await self._hub.drive(self._pause_after(error))
                except HubClosed:
                    return
                continue
            if term is None:
                continue
            self._term = term
            try:
                await self._elected(term)
                yield term
            finally:
                await self.resign()

    async def resign(self) -> None:
        """End the present term, if there is one: ``term.lost`` is set, and the next in the queue is elected."""
        term, self._term = self._term, None
        if term is not None:
            await term.give_back()

    async def leader(self) -> LockInfo:
        """Who leads, since when, and who waits. Changes nothing."""
        return await self._hub.run(calls.inspect(self._spec.keys, 100))

    async def _elected(self, term: Lease) -> None:
        try:
            result = self._on_elected(term) if self._on_elected else None
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("on_elected of %r failed", self.name)

    def _run(self) -> Any:
        def lease(grant: Grant) -> Lease:
            return Lease(self._hub, (grant,), self._terms, self.name)

        return flows.acquire(
            self._spec, None, self._hub.monotonic, lease, replicas=self._terms.replicas, meter=self._hub.meter
        )
