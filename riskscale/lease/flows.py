"""The logic of leases, once for asyncio and threads: flows (see :mod:`riskscale._core.call`) over plain state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from riskscale._core.base import GRACE, BaseHub
from riskscale._core.call import Cleanup, Finish, Flow, Listen, Wait
from riskscale._core.durations import MICRO, Duration
from riskscale._core.meter import Meter
from riskscale.errors import AcquireTimeout, HubClosed, LeaseLost
from riskscale.lease.grant import Grant, Named, Seen, Spec, lease_us, new_token, renewal

L = TypeVar("L")
R = TypeVar("R")
Monotonic = Callable[[], float]

TRY_ONCE = "-"
RACE = "-"
RACE_POLL = 0.05
"""Seconds between the looks of one who races and cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """How many replicas must have a grant, within how many seconds; not ``strict``: it is only recorded."""

    least: int
    within: float
    strict: bool


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done every so many seconds while waiting."""

    every: float
    flow: Callable[[], Flow[None]]


def take(
    grant: Grant,
    timeout: float | None,
    monotonic: Monotonic,
    replicas: Replicas | None = None,
    errand: Errand | None = None,
) -> Flow[bool]:
    """Try once (``timeout`` 0), or wait for so many seconds, or for ever (None); whether it was granted.

    Who waits is told of its grant through the mailbox; where there is none (yet), it polls.

    However it ends, it is held and known, or given back: an outcome that stays unknown (an error, a cancellation) is
    followed by a release, and should that not get through either, the lease ends by itself.
    """
    give_up = None if timeout is None else monotonic() + timeout
    try:
        while True:
            mailbox = yield from _mailbox(grant, timeout)
            budget = None if give_up is None or timeout == 0 else max(give_up - monotonic(), GRACE)
            seen = yield from _ask(grant, mailbox, budget, monotonic, replicas)
            if seen.acquired:
                if (yield from _in_time(grant, budget, monotonic)):
                    return True
                if timeout is None:
                    raise LeaseLost(grant.spec.name, seen.fence, grant.spec.kind)
            pause = min(seen.wait, RACE_POLL) if mailbox == TRY_ONCE else seen.wait
            if timeout == 0 or grant.full or not (yield from _told_to_look(pause, give_up, monotonic, errand)):
                break
    except GeneratorExit:
        raise
    except BaseException:
        yield Cleanup(grant.spec.release(grant), grant.own_token)
        raise
    is_queued = timeout != 0 and not grant.full
    if is_queued or seen.acquired:  # leave the queue; a grant that came meanwhile goes to the next
        yield Cleanup(grant.spec.release(grant), grant.own_token)
    return False


def _ask(
    grant: Grant, mailbox: str, budget: float | None, monotonic: Monotonic, replicas: Replicas | None
) -> Flow[Seen]:
    sent = monotonic()
    call = grant.spec.acquire(grant, mailbox)
    if replicas is None:
        seen: Seen = yield Finish(call, budget)
    else:
        seen, grant.replicas = yield Finish(call, budget, replicas=(replicas.least, replicas.within))
    grant.full = seen.full
    if seen.acquired:
        grant.granted(seen, sent)
        refuse_too_few(grant, replicas)
    return seen


def refuse_too_few(grant: Grant, replicas: Replicas | None) -> None:
    """AcquireTimeout where fewer replicas have it than must."""
    if replicas is not None and replicas.strict and (grant.replicas or 0) < replicas.least:
        reason = f"reached {grant.replicas} of {replicas.least} replicas"
        raise AcquireTimeout(grant.spec.name, replicas.within, reason, grant.spec.kind)


def acquire(
    spec: Spec,
    timeout: float | None,
    monotonic: Monotonic,
    lease: Callable[[Grant], L],
    *,
    replicas: Replicas | None = None,
    owner: str = "",
    meter: Meter | None = None,
) -> Flow[L | None]:
    """One grant; it becomes a ``lease`` before the flow ends, so that a hub that closes meanwhile knows of it."""
    grant = Grant(spec=spec, token=owner or new_token(), hold=new_token() if owner else "")
    taking = timed(take(grant, timeout, monotonic, replicas), spec, monotonic, meter)
    return lease(grant) if (yield from taking) else None


def timed(flow: Flow[R], spec: Named, monotonic: Monotonic, meter: Meter | None) -> Flow[R]:
    """The same flow, which ends with something true where it is held; ``lock_wait_seconds`` tells how long it took."""
    if meter is None:
        return (yield from flow)
    began, outcome = monotonic(), "cancelled"
    try:
        held = yield from flow
        outcome = "acquired" if held else "timeout"
        return held
    except HubClosed:
        raise
    except Exception:
        outcome = "failed"
        raise
    finally:
        meter.observe("lock_wait_seconds", monotonic() - began, kind=spec.kind, outcome=outcome, lock=spec.name)


def _mailbox(grant: Grant, timeout: float | None) -> Flow[str]:
    """What to tell the script of how the waiter is reached."""
    if timeout == 0:
        return TRY_ONCE
    channel: str = yield Listen(grant.token)
    return RACE + channel if grant.spec.races else channel


def _told_to_look(pause: float, give_up: float | None, monotonic: Monotonic, errand: Errand | None) -> Flow[bool]:
    """Wait until it is time to ask again; False where the time to give up came before."""
    look_at = monotonic() + pause
    while pause > 0:
        left = pause if give_up is None else min(pause, give_up - monotonic())
        if left <= 0:
            return False
        message = yield Wait(min(left, errand.every) if errand else left)
        if errand:
            yield from errand.flow()
        # Stand by until another's claim is over; but who is told so again and again, and never asks, is taken for dead.
        pause = min(int(message) / MICRO, look_at - monotonic()) if message.isdecimal() else 0.0
    return True


def _in_time(grant: Grant, budget: float | None, monotonic: Monotonic) -> Flow[bool]:
    """Whether something is left of the lease: where the reply came too late, renew once."""
    if monotonic() < grant.deadline:
        return True
    yield from _renew([grant], None, monotonic, budget)
    return not grant.lost and monotonic() < grant.deadline


def renew(grants: Sequence[Grant], ttl: Duration | None, hub: BaseHub) -> Flow[None]:
    """Lengthen leases from now, one call for each cluster slot; LeaseLost where one has ended, which is not changed."""
    ttl_us = None if ttl is None else lease_us(ttl)
    _refuse_settled(grants)
    slots: dict[int, list[Grant]] = {}
    for grant in grants:
        slots.setdefault(hub.slot_of(grant.spec.key), []).append(grant)
    for together in slots.values():
        yield from _renew(together, ttl_us, hub.monotonic, None)
    _refuse_settled(grants)


def _refuse_settled(grants: Sequence[Grant]) -> None:
    for grant in grants:
        if grant.settled:
            raise LeaseLost(grant.spec.name, grant.fence, grant.spec.kind)


def _renew(grants: Sequence[Grant], ttl_us: int | None, monotonic: Monotonic, budget: float | None) -> Flow[None]:
    sent = monotonic()
    for grant in grants:
        grant.ttl_us = ttl_us or grant.ttl_us
    until = [grant.renewing(sent, grant.ttl_us) for grant in grants]
    fences: Sequence[int | None] = [None] * len(grants)
    try:
        items = [(grant.spec.key, grant.token, grant.ttl_us) for grant in grants]
        fences = yield Finish(renewal(grants[0].spec.renew_script, items), budget)
    finally:
        for grant, end, fence in zip(grants, until, fences, strict=True):
            grant.renewed(end, fence)


def release(grants: Sequence[Grant]) -> Flow[None]:
    """Let go of all. Again after that: nothing. LeaseLost where one was lost; an error leaves it releasable."""
    for grant in reversed(grants):
        if grant.lost and not grant.gone:  # by this side's own reckoning: nobody need wait for the rest of it
            grant.gone = True
            yield Cleanup(grant.spec.release(grant))
        elif not grant.settled:
            held, at = yield Finish(grant.spec.release(grant), last=True)
            grant.deadline = 0.0
            if held:
                grant.released_at = at
            else:
                grant.lost = grant.gone = True
    for grant in grants:
        if grant.lost:
            raise LeaseLost(grant.spec.name, grant.fence, grant.spec.kind)
