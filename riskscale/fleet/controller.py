"""The controller for asyncio: a policy that one replica carries out for all."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any

from riskscale._core.cancels import cancels
from riskscale._core.durations import Duration
from riskscale._core.hub import hub_of
from riskscale.election.election import Election
from riskscale.errors import HubClosed, LeaseLost, StaleFence, StateError
from riskscale.fleet.leader import ELECTION, BaseScalingController, NamedBreaker, log
from riskscale.fleet.turns import ScalingOrder, ScalingPolicy
from riskscale.lease.lease import Lease
from riskscale.scaling.target import TargetTrackingPolicy


class ScalingController(BaseScalingController):
    """Scales a service by a policy, once an interval: every replica runs one, and the elected leader's decides.

    ::

        controller = riskscale.ScalingController(hub, riskscale.AutoScalingPolicy(), fleet, apply, cooldown=60)
        await controller.run()

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        policy: :class:`riskscale.AutoScalingPolicy`, :class:`riskscale.TargetTrackingPolicy`, or another with
            ``evaluate(snapshot) -> ScalingDecision``.
        fleet: what is asked for the snapshot: :class:`riskscale.FleetMetrics`, or another that has ``snapshot()``.
        apply: called with each :class:`riskscale.ScalingOrder` that asks for a change; may be a coroutine function.
        interval: seconds from one decision to the next, by the server's clock, whoever leads.
        cooldown: seconds after a change for which no other is ordered. A policy of thresholds wants one that is longer
            than a new replica takes to be of use.
        ttl: seconds after which a leader that is gone is replaced.
        name: what is scaled. None: the fleet's group.
        breakers: circuit breakers upstream; the names of those that are open go into the snapshot.

    Raises:
        ArgumentError: one of these is malformed.

    A decision is written down before it is applied, under the fence of the leader's term. So there is at most one an
    interval: one whose leader died before it was applied, or whose ``apply`` raised, is not made up for, but decided
    anew by what the next interval shows. A leader that loses its lease is cancelled before the lease ends, also inside
    ``apply``.
    """

    def __init__(
        self,
        client: Any,
        policy: ScalingPolicy | TargetTrackingPolicy,
        fleet: Any,
        apply: Callable[[ScalingOrder], Any],
        *,
        interval: Duration = 15,
        cooldown: Duration = 0,
        ttl: Duration = 10,
        name: str | None = None,
        breakers: Sequence[NamedBreaker] = (),
    ) -> None:
        self._hub, self._fleet = hub_of(client), fleet
        super().__init__(self._hub, policy, fleet, apply, interval, cooldown, name, breakers)
        self._election = Election(self._hub, ELECTION, tag=self._name, ttl=ttl, cancel_on_lost=True)
        self._cancels = 0

    @property
    def term(self) -> Lease | None:
        """The lease of the present term, while this one leads."""
        return self._election.term

    async def run(self) -> None:
        """Stand for election, and scale while elected; until cancelled, or the hub's end.

        A server that is not to be had is waited for, and what ``policy``, ``fleet`` and ``apply`` raise is logged.

        Raises:
            StateError: a key of the controller holds something else.
        """
        self._cancels = cancels()
        with suppress(HubClosed):
            async with aclosing(self._election.terms()) as terms:
                async for term in terms:
                    try:
                        async with term:
                            await self._lead(term)
                    except LeaseLost:
                        log.warning("the lease on the scaling of %r was lost: another leads", self._name)

    async def _lead(self, term: Lease) -> None:
        while not term.over:
            pause = await self._turn(term)
            self._heed_cancels()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await term.lost.wait()

    async def _turn(self, term: Lease) -> float:
        """One, if it is due; seconds until the next."""
        try:
            turn = await self._hub.run(self._begin(term.fence))
            begun = self._hub.monotonic()
            pause = turn.wait(self._interval)
            if pause > 0:
                return pause
            order, memory = self._decide(await self._seen(), turn, term.fence)
            await self._hub.run(self._end(term.fence, memory))
        except StaleFence as error:  # a newer leader: the lease is lost, and its end is about to be heard
            return self._failed(error)
        except StateError:
            raise
        except Exception as error:
            return self._failed(error)
        self._heed_cancels()
        if self._note(order):
            await self._carry_out(order)
        return max(0.0, begun + self._interval - self._hub.monotonic())

    def _heed_cancels(self) -> None:
        """Those that got lost: before Python 3.12 ``asyncio.wait_for``, on which clients stand, may swallow one."""
        if cancels() > self._cancels:
            raise asyncio.CancelledError

    async def _seen(self) -> Any:
        snapshot = self._fleet.snapshot()
        return await snapshot if inspect.isawaitable(snapshot) else snapshot

    async def _carry_out(self, order: ScalingOrder) -> None:
        try:
            result = self._apply(order)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError as error:
            self._heed_cancels()
            self._not_applied(order, error)
        except Exception as error:
            self._not_applied(order, error)
