"""Several locks at once, all or none: the logic, and the facade for asyncio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack

from riskscale._core.base import GRACE, BaseHub
from riskscale._core.call import Cleanup, Finish, Flow
from riskscale._core.durations import MICRO, Duration
from riskscale._core.hub import hub_of
from riskscale.errors import ArgumentError, LeaseLost
from riskscale.lease import flows
from riskscale.lease.base import LeaseTerms, Terms
from riskscale.lease.grant import Grant, Seen, new_token
from riskscale.lease.lease import Lease, Leased
from riskscale.lock import calls
from riskscale.lock.spec import LockSpec

L = TypeVar("L")
MOST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiSpec:
    """The locks, in the one order in which everybody waits for them; ``together``: one script can take them all."""

    name: str
    locks: tuple[LockSpec, ...]
    together: bool
    kind: str = "lock"

    @classmethod
    def of(
        cls,
        hub: BaseHub,
        names: Iterable[str],
        ttl: Duration,
        tag: str | None,
        metadata: Mapping[str, Any] | str | None,
    ) -> MultiSpec:
        """Check the arguments of a MultiLock."""
        if isinstance(names, str):
            raise ArgumentError("names", "must be several names, not one text")
        several = sorted(set(names))
        if not 1 <= len(several) <= MOST:
            raise ArgumentError("names", f"must be from 1 to {MOST} names")
        keys = {name: calls.LockKeys.of(hub.key(name, tag, "names")) for name in several}
        locks = tuple(LockSpec.of(name, keys[name], ttl, metadata) for name in several)
        together = len({hub.slot_of(lock.key) for lock in locks}) == 1
        return cls(name=" + ".join(several), locks=locks, together=together)


def acquire(
    spec: MultiSpec,
    timeout: float | None,
    hub: BaseHub,
    lease: Callable[..., L],
    replicas: flows.Replicas | None,
) -> Flow[L | None]:
    """Try all in one script; where somebody is in the way, wait for one after the other, in order.

    Whoever waits holds those before it, renews them meanwhile, and gives them back when it gives up.
    """
    taking = _take(spec, timeout, hub, replicas)
    grants = yield from flows.timed(taking, spec, hub.monotonic, hub.meter)
    return None if grants is None else lease(*grants)


def _take(
    spec: MultiSpec, timeout: float | None, hub: BaseHub, replicas: flows.Replicas | None
) -> Flow[Sequence[Grant] | None]:
    give_up = None if timeout is None else hub.monotonic() + timeout
    while True:
        grants = [Grant(spec=each, token=new_token()) for each in spec.locks]
        if spec.together and (yield from _all_at_once(spec, grants, hub, give_up, timeout, replicas)):
            return grants
        if timeout == 0 and spec.together:
            return None
        if (yield from _one_by_one(grants, hub, give_up, timeout, replicas)):
            return grants
        if give_up is not None and hub.monotonic() >= give_up:
            return None


def _all_at_once(
    spec: MultiSpec,
    grants: Sequence[Grant],
    hub: BaseHub,
    give_up: float | None,
    timeout: float | None,
    replicas: flows.Replicas | None,
) -> Flow[bool]:
    token, first, sent = grants[0].token, spec.locks[0], hub.monotonic()
    for grant in grants:
        grant.token = token
    budget = None if give_up is None or timeout == 0 else max(give_up - sent, GRACE)
    call = calls.acquire_all([lock.keys for lock in spec.locks], token, first.ttl_us, first.metadata)
    try:
        if replicas is None:
            acquired, at, fences = yield Finish(call, budget)
        else:
            (acquired, at, fences), grants[0].replicas = yield Finish(
                call, budget, replicas=(replicas.least, replicas.within)
            )
        if acquired:
            for grant, fence in zip(grants, fences, strict=True):
                grant.granted(Seen(True, fence, 0.0, -1, at), sent)
            flows.refuse_too_few(grants[0], replicas)
            if hub.monotonic() < grants[0].deadline:
                return True
            yield from _give_back(grants)
    except GeneratorExit:
        raise
    except BaseException:
        yield from _give_back(grants)
        raise
    return False


def _one_by_one(
    grants: Sequence[Grant], hub: BaseHub, give_up: float | None, timeout: float | None, replicas: flows.Replicas | None
) -> Flow[bool]:
    held: list[Grant] = []
    errand = flows.Errand(grants[0].spec.ttl_us / MICRO / 3, lambda: flows.renew(held, None, hub))
    try:
        for grant in grants:
            left = timeout if give_up is None or timeout == 0 else max(give_up - hub.monotonic(), 0.001)
            if not (yield from flows.take(grant, left, hub.monotonic, replicas, errand)):
                yield from _give_back(held)
                return False
            held.append(grant)
        yield from flows.renew(held, None, hub)
    except GeneratorExit:
        raise
    except LeaseLost:  # one of those before ended meanwhile: begin anew
        yield from _give_back(held)
        return False
    except BaseException:
        yield from _give_back(held)
        raise
    return True


def _give_back(grants: Sequence[Grant]) -> Flow[None]:
    for grant in reversed(grants):
        yield Cleanup(grant.spec.release(grant), grant.own_token)


class MultiLock(Leased):
    """Several locks as one: all or none. Each of them is the :class:`riskscale.Lock` of its name.

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        names: 1 to 64 names; their order does not matter.
        ttl: seconds after which the lease ends unless it is renewed.
        wait: seconds that ``async with`` waits before AcquireTimeout; None: for ever.
        tag: text that decides the cluster slot of all of them; the Locks of these names must have the same.
        metadata: what others may read; see :class:`riskscale.Lock`.
        terms: how the lease is kept; see :class:`riskscale.lease.base.LeaseTerms`.

    One script takes them all where all are free and nobody waits for any. Otherwise they are waited for one after the
    other, in sorted order, so that no two MultiLocks wait for each other; what is held meanwhile is renewed, and given
    back where a later one does not come free in time. On a cluster, without a common ``tag``, there is only this way.
    ``lease.fences`` has the fence of each name; the lease is lost when one of them is.
    """

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
