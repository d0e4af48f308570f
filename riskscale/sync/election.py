"""The election for threads; see :mod:`riskscale.election.election`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Unpack

from riskscale._core.durations import Duration
from riskscale.election.base import BaseElection, log
from riskscale.errors import HubClosed
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms
from riskscale.lease.grant import Grant
from riskscale.lock import calls
from riskscale.lock.calls import LockInfo
from riskscale.sync.hub import hub_of
from riskscale.sync.lease import Lease


class Election(BaseElection):
    """One leader at a time; see :class:`riskscale.Election`."""

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
        term = self._term
        return None if term is None or term.over else term

    def terms(self) -> Generator[Lease, None, None]:
        """See :meth:`riskscale.Election.terms`."""
        while True:
            try:
                term = self._hub.drive(self._run())
            except HubClosed:
                return
            except Exception as error:
                try:
                    self._hub.drive(self._pause_after(error))
                except HubClosed:
                    return
                continue
            if term is None:
                continue
            self._term = term
            try:
                self._elected(term)
                yield term
            finally:
                self.resign()

    def resign(self) -> None:
        """See :meth:`riskscale.Election.resign`."""
        term, self._term = self._term, None
        if term is not None:
            term.give_back()

    def leader(self) -> LockInfo:
        """Who leads, since when, and who waits. Changes nothing."""
        return self._hub.run(calls.inspect(self._spec.keys, 100))

    def _elected(self, term: Lease) -> None:
        try:
            if self._on_elected:
                self._on_elected(term)
        except Exception:
            log.exception("on_elected of %r failed", self.name)

    def _run(self) -> Any:
        def lease(grant: Grant) -> Lease:
            return Lease(self._hub, (grant,), self._terms, self.name)

        return flows.acquire(
            self._spec, None, self._hub.monotonic, lease, replicas=self._terms.replicas, meter=self._hub.meter
        )
