"""Several locks at once, for threads; see :mod:`riskscale.lock.multi`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from riskscale._core.call import Flow
from riskscale._core.durations import Duration
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lock.multi import MultiSpec, acquire
from riskscale.sync.hub import hub_of
from riskscale.sync.lease import Lease, Leased


class MultiLock(Leased):
    """Several locks as one: all or none; see :class:`riskscale.MultiLock`."""

    def __init__(
        self,
        client: Any,
        names: Iterable[str],
        *,
        ttl: Duration,
        wait: Duration | None = None,
        tag: str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        **terms: Unpack[LeaseTerms],
    ) -> None:
        hub = hub_of(client)
        self._spec = MultiSpec.of(hub, names, ttl, tag, metadata)
        super().__init__(hub, self._spec.name, wait, Terms.of(hub, **terms))

    def _acquire(self, timeout: float | None) -> Flow[Lease | None]:
        return acquire(self._spec, timeout, self._hub, self._lease, self._terms.replicas)
