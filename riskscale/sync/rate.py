"""The rate limiter for threads; see :mod:`riskscale.rate.limiter`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, cast, overload

from riskscale._core.durations import Duration, seconds
from riskscale.errors import StateError
from riskscale.rate._facade import LOOK, BaseLimiter
from riskscale.rate.booking import Booking
from riskscale.rate.calls import D, Decided, Decision, Pairs, Plan, Subject, check_cost, check_items, check_refund, only
from riskscale.rate.fallback import OnError, gone, merged
from riskscale.rate.limit import Limit
from riskscale.rate.limited import Cost, Key
from riskscale.rate.multi import MultiDecision, MultiPlan, decide, grouped, refund
from riskscale.rate.plans import AT_ONCE, Plans, planned
from riskscale.sync.hub import Hub, hub_of
from riskscale.sync.reservation import Limited, Reservation
from riskscale.typing import LimitSource

K = TypeVar("K")


class Limiter(BaseLimiter, Generic[K, D]):
    """What limits requests of whatever names whose they are; see :class:`riskscale.rate.limiter.Limiter`."""

    def __init__(
        self, hub: Hub, plan: Plan | Plans, by_slot: bool, on_error: OnError, replicas: int | None, deny_cache: bool
    ) -> None:
        super().__init__(hub, plan, by_slot, on_error, replicas, deny_cache)
        self._hub = hub

    def hit(self, key: K, cost: int = 1) -> D:
        """See :meth:`riskscale.RateLimiter.hit`."""
        pairs = ((self._subject(key), check_cost(cost)),)
        plan = self._planned_one(pairs[0][0])
        if self._is_plain:
            return only(cast("list[D | StateError]", self._send(plan, pairs, True)))
        return only(self._decide(plan, pairs, True))

    def wait(self, key: K, cost: int = 1, timeout: Duration | None = None) -> D:
        """See :meth:`riskscale.RateLimiter.wait`."""
        began = self._monotonic()
        give_up = math.inf if timeout is None else began + seconds(timeout, "timeout")
        while True:
            decision = self.hit(key, cost)
            pause = self._pause(decision, give_up)
            if pause is None or math.isinf(pause):
                self._waited(began)
                return decision
            self._sleep(pause, decision)

    def peek(self, key: K, cost: int = 1) -> D:
        """What :meth:`hit` would say now. Changes nothing."""
        pairs = ((self._subject(key), check_cost(cost)),)
        return only(self._decide(self._planned_one(pairs[0][0]), pairs, False))

    def refund(self, key: K, decision: Decision, cost: int = 1) -> int:
        """See :meth:`riskscale.RateLimiter.refund`."""
        subject = self._subject(key)
        check_refund(subject, decision, cost)
        plan = self._to_refund(decision, self._planned_one(subject))
        if decision.degraded:
            return self._refund_here(plan, decision, cost)
        try:
            return self._give_back(plan, subject, decision, cost)
        finally:
            self._denials.forget(plan.keys(subject))

    @overload
    def hit_many(self, items: Iterable[K | tuple[K, int]], *, return_exceptions: Literal[False] = False) -> list[D]: ...
    @overload
    def hit_many(
        self, items: Iterable[K | tuple[K, int]], *, return_exceptions: Literal[True]
    ) -> list[D | StateError]: ...
    def hit_many(
        self, items: Iterable[K | tuple[K, int]], *, return_exceptions: bool = False
    ) -> list[D] | list[D | StateError]:
        """See :meth:`riskscale.RateLimiter.hit_many`."""
        pairs = check_items(items, self._plan)
        plans = self._planned([subject for subject, _ in pairs])
        found: dict[int, D | StateError] = {}
        for batch in self._batches(pairs, plans):
            decided: list[D | StateError] = self._decide(batch.plan, batch.pairs, True)
            found.update(zip(batch.places, decided, strict=True))
        results = [found[place] for place in range(len(pairs))]
        return results if return_exceptions else [only([each]) for each in results]

    def _planned(self, subjects: Sequence[Subject]) -> Sequence[Plan]:
        """By what each is decided: of a source what it knows, brought up to date."""
        if self._plans is None:
            return [cast(Plan, self._plan)] * len(subjects)
        plans: list[Plan] = []
        for first in range(0, len(subjects), AT_ONCE):
            some = subjects[first : first + AT_ONCE]
            self._plans.source.refresh(some)
            plans += self._plans.known(some)
        return plans

    def _sleep(self, pause: float, decision: Decision) -> None:
        """Until it may pass, or its key has other limits."""
        if self._plans is None:
            time.sleep(pause)
            return
        until = self._monotonic() + pause
        while (left := until - self._monotonic()) > 0:
            time.sleep(min(left, LOOK))
            if self._planned_one(decision.subject).limits != decision.limits:
                return

    def _planned_one(self, subject: Subject) -> Plan:
        return self._plan or (self._planned((subject,)))[0]

    def _decide(self, plan: Plan, pairs: Pairs, charge: bool) -> list[D | StateError]:
        began = self._monotonic()
        denied = self._denied(plan, pairs)
        asked = [pair for pair, denial in zip(pairs, denied, strict=True) if denial is None]
        decided: Decided = self._with_fallback(plan, asked, charge) if asked else []
        self._note(plan, decided, began)
        everything = merged(denied, decided)
        self._count(everything, charge, began)
        return cast("list[D | StateError]", everything)

    def _with_fallback(self, plan: Plan, pairs: Pairs, charge: bool, booking: Booking | None = None) -> Decided:
        if self._fallback is None:
            return self._ask(plan, pairs, charge, booking)
        attempt = self._fallback.begin(plan, pairs, charge)
        try:
            decided = self._ask(plan, attempt.asked, charge, booking) if attempt.asked else None
        except gone() as error:
            return self._fallback.failed(error, attempt)
        return merged(attempt.settled, []) if decided is None else self._fallback.answered(attempt, decided)

    def _ask(self, plan: Plan, pairs: Pairs, charge: bool, booking: Booking | None) -> Decided:
        return self._send(plan, pairs, charge) if booking is None else self._hub.drive(booking.flow(None))

    def _send(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        return self._hub.run(plan.hits(pairs, charge))

    def _give_back(self, plan: Plan, subject: Subject, decision: Decision, cost: int) -> int:
        return self._hub.run(plan.refund(subject, decision, cost))


class RateLimiter(Limiter[str, Decision]):
    """Limits that replicas share, for a blocking client; see :class:`riskscale.RateLimiter`."""

    def __init__(
        self,
        client: Any,
        limits: Limit | Iterable[Limit] | LimitSource,
        *,
        name: str = "default",
        tag: str | None = None,
        on_error: OnError = "raise",
        replicas: int | None = None,
        deny_cache: bool = False,
    ) -> None:
        hub = hub_of(client)
        super().__init__(hub, planned(hub, limits, name, tag), tag is None, on_error, replicas, deny_cache)

    def reserve(self, key: str, cost: int = 1, max_wait: Duration | None = None) -> Reservation:
        """See :meth:`riskscale.RateLimiter.reserve`."""
        plan, began = self._planned_one(self._subject(key)), self._monotonic()
        booking = Booking(plan, key, cost, max_wait)
        decided = self._with_fallback(plan, booking.pairs, True, booking)
        self._count(decided, True, began)
        return Reservation(self, plan, only(decided))

    def limited(self, key: Key, cost: Cost = 1, wait: Duration | None = 0) -> Limited:
        """See :meth:`riskscale.RateLimiter.limited`; ``with``, and plain functions."""
        return Limited(self, key, cost, wait)

    def reset(self, key: str) -> None:
        """Forget what ``key`` used."""
        plan = self._planned_one(self._subject(key))
        try:
            self._hub.run(plan.reset(key))
        finally:
            self._denials.forget(plan.keys(key))

    def _admit(self, key: str, cost: int, wait: float) -> Decision:
        give_up = self._monotonic() + wait
        decision = self.hit(key, cost)
        if decision.allowed or not wait:
            decision.raise_if_refused()
            return decision
        left = None if math.isinf(wait) else max(0.0, give_up - self._monotonic())
        if self._planned_one(key).is_reservable:
            with self.reserve(key, cost, left) as reservation:
                return reservation.decision
        decision = self.wait(key, cost, left)
        decision.raise_if_refused()
        return decision


class MultiRateLimiter(Limiter[Mapping[str, str], MultiDecision]):
    """Several rate limiters as one, for a blocking client; see :class:`riskscale.MultiRateLimiter`."""

    _plan: MultiPlan

    def __init__(
        self,
        limiters: Iterable[RateLimiter],
        *,
        on_error: OnError = "raise",
        replicas: int | None = None,
        deny_cache: bool = False,
    ) -> None:
        first, plan, by_slot = grouped(limiters, RateLimiter)
        super().__init__(first._hub, plan, by_slot, on_error, replicas, deny_cache)

    def _send(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        keys, _ = pairs[0]
        if not self._by_slot or len(self._plan.slots(keys)) == 1:
            return super()._send(plan, pairs, charge)
        return [self._hub.drive(decide(self._plan, keys, cost, charge)) for _, cost in pairs]

    def _give_back(self, plan: Plan, subject: Subject, decision: Decision, cost: int) -> int:
        if isinstance(decision, MultiDecision) and decision.parts:
            return self._hub.drive(refund(self._plan, subject, decision.parts, cost))
        return super()._give_back(plan, subject, decision, cost)
