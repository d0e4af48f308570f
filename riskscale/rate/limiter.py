"""The rate limiter for asyncio."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar, cast, overload

from riskscale._core.durations import Duration, seconds
from riskscale._core.hub import Hub, hub_of
from riskscale.errors import StateError
from riskscale.rate._facade import LOOK, BaseLimiter
from riskscale.rate.booking import Booking
from riskscale.rate.calls import D, Decided, Decision, Pairs, Plan, Subject, check_cost, check_items, check_refund, only
from riskscale.rate.coalescer import Coalescer
from riskscale.rate.fallback import OnError, gone, merged
from riskscale.rate.limit import Limit
from riskscale.rate.limited import Cost, Key, Limited
from riskscale.rate.plans import AT_ONCE, MOST, Plans, planned
from riskscale.rate.reservation import Reservation
from riskscale.typing import LimitSource

K = TypeVar("K")


class Limiter(BaseLimiter, Generic[K, D]):
    """What limits requests of whatever names whose they are: a key, or several.

    Args:
        hub: whose server it is.
        plan: the limits.
        by_slot: whether its keys lie in several slots of a cluster.
        coalesce, timeout, on_error, replicas, deny_cache: see :class:`riskscale.RateLimiter`.
    """

    def __init__(
        self,
        hub: Hub,
        plan: Plan | Plans,
        by_slot: bool,
        coalesce: bool,
        timeout: Duration | None,
        on_error: OnError,
        replicas: int | None,
        deny_cache: bool,
    ) -> None:
        super().__init__(hub, plan, by_slot, on_error, replicas, deny_cache)
        self._hub = hub
        self._timeout = None if timeout is None else seconds(timeout, "timeout")
        self._is_plain = self._is_plain and self._timeout is None
        self._kind_of = lru_cache(MOST)(hub.part(Coalescer).kind) if coalesce else None

    async def hit(self, key: K, cost: int = 1) -> D:
        """Ask for ``cost`` units for ``key``; what is refused is not charged.

        Raises:
            ArgumentError: ``cost`` is not a whole number of 1 or more, or ``key`` is empty.
            StateError: a key of it holds something else, and was left untouched.
        """
        pairs = ((self._subject(key), check_cost(cost)),)
        plan = self._plan or await self._planned_one(pairs[0][0])
        if self._is_plain and self._kind_of is not None and not self._by_slot:
            return only(cast("list[D | StateError]", await self._kind_of(plan).ask(plan, pairs)))
        return only(await self._decide(plan, pairs, True))

    async def wait(self, key: K, cost: int = 1, timeout: Duration | None = None) -> D:
        """Hit again and again until it is admitted, as soon as it may be.

        There is no queue: of those who wait, any may come first, and high costs come after low ones where the limit is
        always busy. :meth:`riskscale.RateLimiter.reserve` keeps the order.

        Args:
            key: whose request it is.
            cost: units.
            timeout: seconds to wait; None: for ever.

        Returns:
            The decision that admitted it; else, as soon as that is known, the one that says that it will not pass in
            time, or never.
        """
        began = self._monotonic()
        give_up = math.inf if timeout is None else began + seconds(timeout, "timeout")
        while True:
            decision = await self.hit(key, cost)
            pause = self._pause(decision, give_up)
            if pause is None or math.isinf(pause):
                self._waited(began)
                return decision
            await self._sleep(pause, decision)

    async def peek(self, key: K, cost: int = 1) -> D:
        """What :meth:`hit` would say now. Changes nothing."""
        pairs = ((self._subject(key), check_cost(cost)),)
        return only(await self._decide(await self._planned_one(pairs[0][0]), pairs, False))

    async def refund(self, key: K, decision: Decision, cost: int = 1) -> int:
        """Give back ``cost`` units of an admitted request, once: a second refund of one decision gives nothing.

        Returns:
            The units that came back: fewer where the request, in part, counts no more.
        """
        subject = self._subject(key)
        check_refund(subject, decision, cost)
        plan = self._to_refund(decision, await self._planned_one(subject))
        if decision.degraded:
            return self._refund_here(plan, decision, cost)
        try:
            return await self._give_back(plan, subject, decision, cost)
        finally:
            self._denials.forget(plan.keys(subject))

    @overload
    async def hit_many(
        self, items: Iterable[K | tuple[K, int]], *, return_exceptions: Literal[False] = False
    ) -> list[D]: ...
    @overload
    async def hit_many(
        self, items: Iterable[K | tuple[K, int]], *, return_exceptions: Literal[True]
    ) -> list[D | StateError]: ...
    async def hit_many(
        self, items: Iterable[K | tuple[K, int]], *, return_exceptions: bool = False
    ) -> list[D] | list[D | StateError]:
        """Many requests (keys, or pairs of a key and its cost), each for itself, in as few calls as they fit.

        Args:
            return_exceptions: whether a key that holds something else gives its StateError as its result. Otherwise
                the first such error is raised, after all items were decided.
        """
        pairs = check_items(items, self._plan)
        plans = await self._planned([subject for subject, _ in pairs])
        found: dict[int, D | StateError] = {}
        for batch in self._batches(pairs, plans):
            decided: list[D | StateError] = await self._decide(batch.plan, batch.pairs, True)
            found.update(zip(batch.places, decided, strict=True))
        results = [found[place] for place in range(len(pairs))]
        return results if return_exceptions else [only([each]) for each in results]

    async def _planned(self, subjects: Sequence[Subject]) -> Sequence[Plan]:
        """By what each is decided: of a source what it knows, brought up to date as far as the time budget allows."""
        if self._plans is None:
            return [cast(Plan, self._plan)] * len(subjects)
        plans: list[Plan] = []
        for first in range(0, len(subjects), AT_ONCE):
            some = subjects[first : first + AT_ONCE]
            waiting = self._plans.source.refresh(some)
            if waiting is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._timeout):
                        await waiting
            plans += self._plans.known(some)
        return plans

    async def _sleep(self, pause: float, decision: Decision) -> None:
        """Until it may pass, or its key has other limits."""
        if self._plans is None:
            await asyncio.sleep(pause)
            return
        until = self._monotonic() + pause
        while (left := until - self._monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK))
            if (await self._planned_one(decision.subject)).limits != decision.limits:
                return

    async def _planned_one(self, subject: Subject) -> Plan:
        return self._plan or (await self._planned((subject,)))[0]

    async def _decide(self, plan: Plan, pairs: Pairs, charge: bool) -> list[D | StateError]:
        began = self._monotonic()
        denied = self._denied(plan, pairs)
        asked = [pair for pair, denial in zip(pairs, denied, strict=True) if denial is None]
        decided: Decided = await self._with_fallback(plan, asked, charge) if asked else []
        self._note(plan, decided, began)
        everything = merged(denied, decided)
        self._count(everything, charge, began)
        return cast("list[D | StateError]", everything)

    async def _with_fallback(self, plan: Plan, pairs: Pairs, charge: bool, booking: Booking | None = None) -> Decided:
        if self._fallback is None:
            return await self._ask(plan, pairs, charge, booking)
        attempt = self._fallback.begin(plan, pairs, charge)
        try:
            decided = await self._ask(plan, attempt.asked, charge, booking) if attempt.asked else None
        except gone() as error:
            return self._fallback.failed(error, attempt)
        return merged(attempt.settled, []) if decided is None else self._fallback.answered(attempt, decided)

    async def _ask(self, plan: Plan, pairs: Pairs, charge: bool, booking: Booking | None) -> Decided:
        if booking is not None:
            return await self._hub.drive(booking.flow(self._timeout))
        if self._timeout is None:
            return await self._send(plan, pairs, charge)
        async with asyncio.timeout(self._timeout):
            return await self._send(plan, pairs, charge)

    async def _send(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        if self._kind_of is None or not charge:
            return await self._hub.run(plan.hits(pairs, charge))
        slot = self._hub.slot_of(plan.keys(pairs[0][0])[0]) if self._by_slot else 0
        return await self._kind_of(plan, slot).ask(plan, pairs)

    async def _give_back(self, plan: Plan, subject: Subject, decision: Decision, cost: int) -> int:
        return await self._hub.run(plan.refund(subject, decision, cost))


class RateLimiter(Limiter[str, Decision]):
    """Limits that replicas share, by key (a tenant, an address, ...).

    Args:
        client: a :class:`riskscale.Hub`, or an asyncio client.
        limits: a :class:`riskscale.Limit`, or up to 32: a request then passes all of them or is charged to none. Or a
            :class:`riskscale.typing.LimitSource`, such as :class:`riskscale.RedisLimits`, that knows those of each key.
        name: what is limited ("api", "login"): limiters of different names count apart.
        tag: text that decides the cluster slot in place of the key.
        coalesce: whether hits that are made at the same time travel together, which is several times as fast.
        timeout: seconds for one decision before the server counts as gone; None: the hub's, or the client's own.
        on_error: when the server is gone: "raise" its error, "allow", "deny", or decide "local": this replica then
            grants its share of the limits by itself. The decision says that it is ``degraded``.
        replicas: for "local": how many share the limits; each grants the limit divided by as many, 1 at the least.
        deny_cache: whether what was refused is refused here until its ``retry_after``, without asking again. A refund,
            a reset or a changed limit ends that at once for all limiters of the hub; elsewhere it is not noticed.

    Raises:
        ArgumentError: an argument is malformed.
    """

    def __init__(
        self,
        client: Any,
        limits: Limit | Iterable[Limit] | LimitSource,
        *,
        name: str = "default",
        tag: str | None = None,
        coalesce: bool = True,
        timeout: Duration | None = None,
        on_error: OnError = "raise",
        replicas: int | None = None,
        deny_cache: bool = False,
    ) -> None:
        hub = hub_of(client)
        super().__init__(
            hub, planned(hub, limits, name, tag), tag is None, coalesce, timeout, on_error, replicas, deny_cache
        )

    async def reserve(self, key: str, cost: int = 1, max_wait: Duration | None = None) -> Reservation:
        """Book units ahead: when may it start? Under one gcra limit.

        Args:
            key: whose request it is.
            cost: units.
            max_wait: seconds that the start may be away; None: any number.

        Returns:
            A reservation with its ``start``; false, with nothing charged, where that would be later than ``max_wait``.
            Its ``decision.retry_after`` says when it could be had. Reservations of a key start in the order in which
            they were made; hits do not queue with them. When it is decided without the server, it is decided as a hit.

        Raises:
            ArgumentError: an argument is malformed, or the limiter has other limits than one gcra.
            StateError: a key of it holds something else.
        """
        plan, began = await self._planned_one(self._subject(key)), self._monotonic()
        booking = Booking(plan, key, cost, max_wait)
        decided = await self._with_fallback(plan, booking.pairs, True, booking)
        self._count(decided, True, began)
        return Reservation(self, plan, only(decided))

    def limited(self, key: Key, cost: Cost = 1, wait: Duration | None = 0) -> Limited:
        """What begins when the limits let it: ``async with limiter.limited("tenant"):``, or a decorator of functions.

        Args:
            key: whose request it is; for functions also a callable that finds it in their arguments.
            cost: units; likewise.
            wait: seconds that it waits at the most, before RateLimitExceeded; 0: it does not wait; None: for ever.
                Under one gcra limit those who wait begin in the order in which they came.

        ``as`` gives the decision. Whoever is cancelled while waiting gives back what it was to have.
        """
        return Limited(self, key, cost, wait)

    async def reset(self, key: str) -> None:
        """Forget what ``key`` used."""
        plan = await self._planned_one(self._subject(key))
        try:
            await self._hub.run(plan.reset(key))
        finally:
            self._denials.forget(plan.keys(key))

    async def _admit(self, key: str, cost: int, wait: float) -> Decision:
        give_up = self._monotonic() + wait
        decision = await self.hit(key, cost)
        if decision.allowed or not wait:
            decision.raise_if_refused()
            return decision
        left = None if math.isinf(wait) else max(0.0, give_up - self._monotonic())
        if (await self._planned_one(key)).is_reservable:
            async with await self.reserve(key, cost, left) as reservation:
                return reservation.decision
        decision = await self.wait(key, cost, left)
        decision.raise_if_refused()
        return decision
