"""The lock for threads; see :mod:`riskscale.lock.lock`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from riskscale._core.call import Flow
from riskscale._core.durations import Duration, seconds
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lock import calls
from riskscale.lock.calls import LockInfo, LockKeys
from riskscale.lock.spec import LockSpec, owner_token
from riskscale.sync.hub import hub_of
from riskscale.sync.lease import Lease, Leased


class Lock(Leased):
    """A lock that replicas share, for a blocking client; see :class:`riskscale.Lock`.

    ``with lock as lease:`` remembers its lease for the current thread.
    """

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        ttl: Duration,
        wait: Duration | None = None,
        tag: str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        fair: bool = True,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        hub = hub_of(client)
        self._spec = LockSpec.of(name, LockKeys.of(hub.key(name, tag)), ttl, metadata, fair)
        super().__init__(hub, name, wait, Terms.of(hub, **terms))

    def acquire(self, timeout: Duration | None = None, *, owner: str | None = None) -> Lease | None:
        """See :meth:`riskscale.Lock.acquire`; one call under way is bounded by the client's ``socket_timeout``."""
        limit = None if timeout is None else seconds(timeout, "timeout")
        return self._hub.drive(self._acquire(limit, owner_token(owner)))

    def locked(self) -> bool:
        """Whether somebody holds the lock now."""
        return self.inspect(0).held

    def inspect(self, waiters: int = 100) -> LockInfo:
        """Who holds the lock, and the first ``waiters`` (0 to 1000) of its queue. Changes nothing."""
        return self._hub.run(calls.inspect(self._spec.keys, waiters))

    def _acquire(self, timeout: float | None, owner: str = "") -> Flow[Lease | None]:
        replicas = self._terms.replicas
        return flows.acquire(
            self._spec, timeout, self._hub.monotonic, self._lease, replicas=replicas, owner=owner, meter=self._hub.meter
        )
