"""Fleet metrics and their controller for threads; see :mod:`riskscale.fleet`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

from riskscale._core.callables import refuse_coroutine_function
from riskscale._core.durations import Duration
from riskscale.errors import HubClosed, StaleFence, StateError
from riskscale.fleet import calls
from riskscale.fleet.base import BaseFleetMetrics
from riskscale.fleet.leader import ELECTION, BaseScalingController, NamedBreaker
from riskscale.fleet.snapshot import FleetSnapshot
from riskscale.fleet.turns import ScalingOrder, ScalingPolicy
from riskscale.scaling.target import TargetTrackingPolicy
from riskscale.sync.election import Election
from riskscale.sync.hub import hub_of
from riskscale.sync.lease import Lease


class FleetMetrics(BaseFleetMetrics):
    """How the replicas of one service are, all together; see :class:`riskscale.FleetMetrics`. A thread reports."""

    def __init__(
        self,
        client: Any,
        group: str,
        *,
        interval: Duration = 5,
        window: Duration = 60,
        ttl: Duration | None = None,
        cpu: Callable[[], Any] | None = None,
        queue_depth: Callable[[], Any] | None = None,
    ) -> None:
        self._hub = hub_of(client)
        super().__init__(self._hub, group, interval, window, ttl, cpu, queue_depth)
        for name, gauge in self._gauges.items():
            refuse_coroutine_function(name, gauge, "FleetMetrics")
        self._turn = threading.Lock()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FleetMetrics:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def start(self) -> None:
        """See :meth:`riskscale.FleetMetrics.start`."""
        with self._turn:
            if self._thread is not None:
                return
            self._hub.check_open()
            self._ends = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._ends,), name="riskscale-fleet", daemon=True)
            self._thread.start()
            self._hub._leases.add(self)

    def report(self) -> None:
        """See :meth:`riskscale.FleetMetrics.report`."""
        values = self._ask()
        with self._turn:
            self._hub.drive(self._tell(values))

    def leave(self) -> None:
        """See :meth:`riskscale.FleetMetrics.leave`."""
        with self._turn:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        self._hub._leases.discard(self)
        self._ends.set()
        try:
            with self._turn:
                self._hub.drive(self._tell({}, leaves=True))
        except Exception as error:
            self._complain("farewell", error)
        thread.join(self._interval)  # unless it hangs in a gauge

    def give_back(self) -> None:
        """As :meth:`leave`, on behalf of the hub, which closes."""
        self.leave()

    def snapshot(self) -> FleetSnapshot:
        """See :meth:`riskscale.FleetMetrics.snapshot`."""
        return self._hub.run(calls.snapshot(self._keys, self._terms))

    def _run(self, ends: threading.Event) -> None:
        while not ends.is_set():
            next_at = self._hub.monotonic() + self._interval
            try:
                values = self._ask()
                with self._turn:
                    if not ends.is_set():
                        self._hub.drive(self._tell(values))
            except HubClosed:
                return
            except Exception as error:
                self._complain("report", error)
            else:
                self._complaints.pop("report", None)
            ends.wait(max(0.0, next_at - self._hub.monotonic()))

    def _ask(self) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        for name, gauge in self._gauges.items():
            try:
                values[name] = self._measured(name, gauge() if gauge else None)
            except Exception as error:
                self._complain(name, error)
        return values


class ScalingController(BaseScalingController):
    """Scales a service by a policy, once an interval; see :class:`riskscale.ScalingController`.

    Threads cannot be cancelled: an ``apply`` that lasts longer than the lease goes on. ``order.fence`` tells.
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
        refuse_coroutine_function("apply", apply, "ScalingController")
        self._election = Election(self._hub, ELECTION, tag=self._name, ttl=ttl)

    @property
    def term(self) -> Lease | None:
        """The lease of the present term, while this one leads."""
        return self._election.term

    def run(self) -> None:
        """See :meth:`riskscale.ScalingController.run`; until the hub's end."""
        with suppress(HubClosed), closing(self._election.terms()) as terms:
            for term in terms:
                self._lead(term)

    def _lead(self, term: Lease) -> None:
        lost = term.lost
        while not lost.is_set() and not term.over:
            lost.wait(self._turn(term))

    def _turn(self, term: Lease) -> float:
        """One, if it is due; seconds until the next."""
        try:
            turn = self._hub.run(self._begin(term.fence))
            begun = self._hub.monotonic()
            pause = turn.wait(self._interval)
            if pause > 0:
                return pause
            order, memory = self._decide(self._fleet.snapshot(), turn, term.fence)
            self._hub.run(self._end(term.fence, memory))
        except StaleFence as error:
            return self._failed(error)
        except StateError:
            raise
        except Exception as error:
            return self._failed(error)
        if self._note(order) and not term.over:
            self._carry_out(order)
        return max(0.0, begun + self._interval - self._hub.monotonic())

    def _carry_out(self, order: ScalingOrder) -> None:
        try:
            self._apply(order)
        except Exception as error:
            self._not_applied(order, error)
