"""Every script, run once on a server: on throwaway keys, which are removed where that is allowed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

from riskscale._core.durations import MICRO
from riskscale._core.scripts import of_services
from riskscale.errors import StateError
from riskscale.lease.flows import TRY_ONCE
from riskscale.limits.calls import LimitsCalls
from riskscale.lock import calls
from riskscale.lock.admin import lost_channel
from riskscale.lock.calls import LockKeys
from riskscale.rate.calls import Plan
from riskscale.rate.limit import ALGORITHMS, Limit
from riskscale.semaphore.calls import SemaphoreKeys
from riskscale.sync import Hub, Lock, Semaphore


def run_every_script(client: Any, prefix: str, name: str) -> int:
    """How many scripts a service has, if all of them ran on ``name``; the first error otherwise."""
    with Hub(client, key_prefix=prefix) as hub:
        try:
            _locks(hub, name)
            _rates(hub, name)
            hub.run(LimitsCalls(hub.root, name).read([name]))
        finally:
            with suppress(RedisError):  # a lock leaves its fence behind for a minute
                for key in (*LockKeys.of(hub.key(name)).all, *SemaphoreKeys.of(hub.key(name)).all):
                    client.delete(key)
    return len(of_services())


def _locks(hub: Hub, name: str) -> None:
    for leased in (Lock(hub, name, ttl=10), Semaphore(hub, name, limit=1, ttl=10)):
        leased.inspect()
        with leased as lease:  # nobody else knows the prefix, so it is free
            lease.renew()
    keys = LockKeys.of(hub.key(name))
    seen = hub.run(calls.acquire(keys, name, 10 * MICRO, TRY_ONCE))
    hub.run(calls.force_release(keys, lost=lost_channel(hub.root), fence=seen.fence))


def _rates(hub: Hub, name: str) -> None:
    limits = [Limit(10, per=60, algorithm=algorithm) for algorithm in ALGORITHMS]
    plans = [Plan(hub.root, limits, "all", None), *(Plan(hub.root, each, "one", None) for each in limits)]
    for plan in plans:
        decision = hub.run(plan.hits([(name, 1)], True))[0]
        if isinstance(decision, StateError):
            raise decision
        refund = plan.refund(name, decision, 1)
        hub.run(refund)
        hub.run(plan.reset(name))
        hub.client.delete(*refund.keys)  # the marks that make a refund count once
