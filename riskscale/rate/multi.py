"""Several limiters as one, all or nothing: the logic, and the facade for asyncio.

Where all keys of a request share a slot (a single server; a common ``tag``), one ``rate.all_of`` decides it. Otherwise,
on a cluster, there is a call for each slot, one after the other: it charges its keys or refuses; a refusal ends the
request, and what was charged before is given back. So no limit is ever exceeded; but what is charged meanwhile refuses
others, and what a killed process had charged counts until it leaves its window. What is shared by most is asked last: a
tenant that is over its own limit then takes nothing, not even for a moment, from what all have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from riskscale._core.base import BaseHub
from riskscale._core.call import Call, Cleanup, Finish, Flow
from riskscale._core.durations import Duration
from riskscale.errors import ArgumentError, StateError
from riskscale.rate.calls import REMEMBERED, Decided, Decision, Pairs, Plan, Said, remembered
from riskscale.rate.fallback import OnError
from riskscale.rate.limit import Limit
from riskscale.rate.limiter import Limiter, RateLimiter

MOST_LIMITS = 32
L = TypeVar("L", bound=Any)
Keys: TypeAlias = tuple[str, ...]
"""A key for each limiter, in their order."""


@dataclass(slots=True)
class MultiDecision(Decision):
    """The answer to one request under several limiters; true if all of them admitted it.

    Attributes:
        limiter: the name of the limiter that ``limit`` and ``key`` are of: the one that refused it for longest, or has
            the fewest units left. On a cluster, without a common tag, the limiters that come after one that refused
            were not asked; at ``retry_after`` they may refuse.
        keys: the key of each limiter, in their order.
        parts: the decisions of the cluster's slots, where it took several.
    """

    limiter: str = ""
    keys: Keys = ()
    parts: tuple[MultiDecision, ...] = field(default=(), repr=False)

    @property
    def subject(self) -> Keys:
        """What a refund of it names."""
        return self.keys


class MultiPlan(Plan):
    """The limits of several limiters, in the limiters' order."""

    def __init__(self, plans: Sequence[Plan], hub: BaseHub) -> None:
        self._plans, self._hub = tuple(plans), hub
        self._names = [plan.name for plan in plans]
        self.name = " + ".join(self._names)
        self.limits = tuple(limit for plan in plans for limit in plan.limits)
        if len(self.limits) > MOST_LIMITS:
            raise ArgumentError("limiters", f"must have at most {MOST_LIMITS} limits together, not {len(self.limits)}")
        self._owners = [index for index, plan in enumerate(plans) for _ in plan.limits]
        self.words = tuple(word for plan in plans for word in plan.words)
        self._prepare_all_of()
        self._part = lru_cache(REMEMBERED)(self._make_part)
        self.slots = remembered(self._slots)
        """The parts of a request that one call each can decide, in the order to ask them."""

    @property
    def policies(self) -> list[tuple[str, Limit]]:
        return [policy for plan in self._plans for policy in plan.policies]

    def policy_of(self, decision: Decision) -> tuple[str, Limit]:
        name = decision.limiter if isinstance(decision, MultiDecision) else self.name
        return name, decision.limit

    def subject(self, key: Any) -> Keys:
        keys: tuple[Any, ...] = tuple(map(key.get, self._names)) if isinstance(key, Mapping) else ()
        if not keys or len(key) != len(keys) or not all(isinstance(each, str) for each in keys):
            raise ArgumentError("key", f"must map a key, as text, to each of {', '.join(map(repr, self._names))}")
        return keys

    def _keys(self, key: Keys) -> tuple[bytes, ...]:
        return tuple(made for plan, each in zip(self._plans, key, strict=True) for made in plan.keys(each))

    def made(self, key: Keys, cost: int, which: int, said: Said) -> MultiDecision:
        owner = self._owners[which]
        return MultiDecision(
            said.retry_after == 0, said.remaining, said.retry_after, said.reset_after, self.limits[which], said.at,
            key[owner], cost, said.token, said.degraded, self.limits, self._names[owner], key,
        )  # fmt: skip

    def poisoned(self, key: Keys, which: int) -> StateError:
        return super().poisoned(key[self._owners[which]], which)

    def _slots(self, keys: Keys) -> list[tuple[MultiPlan, Keys]]:
        """By the last limiter of each slot: the one that is shared by most comes last."""
        slots = [self._hub.slot_of(plan.keys(key)[0]) for plan, key in zip(self._plans, keys, strict=True)]
        last = {slot: index for index, slot in enumerate(slots)}
        members = [
            tuple(i for i, each in enumerate(slots) if each == slot) for slot in sorted(last, key=last.__getitem__)
        ]
        return [(self._part(each), tuple(keys[index] for index in each)) for each in members]

    def _make_part(self, members: tuple[int, ...]) -> MultiPlan:
        part = MultiPlan([self._plans[index] for index in members], self._hub)
        part._nonce, part._serial = self._nonce, self._serial  # its tokens are this plan's
        return part

    def joined(self, keys: Keys, decided: Sequence[Decision | StateError]) -> Decision | StateError:
        """What the slots that were asked say together."""
        parts: list[MultiDecision] = []
        for each in decided:
            if not isinstance(each, MultiDecision):
                return each
            parts.append(each)
        refused = [part for part in parts if not part.allowed]
        said = max(refused, key=lambda part: part.retry_after) if refused else min(parts, key=lambda p: p.remaining)
        return replace(
            said,
            limits=self.limits,
            keys=keys,
            remaining=min(part.remaining for part in parts),
            reset_after=max(part.reset_after for part in parts),
            parts=() if refused else tuple(parts),
        )


@dataclass(slots=True)
class _Asked:
    """One slot's part of a request; its outcome is noted as soon as its reply is here, whoever still waits for it."""

    plan: MultiPlan
    keys: Keys
    cost: int
    decided: Decision | StateError | None = None

    def call(self, charge: bool) -> Call[Decision | StateError]:
        asked = self.plan.hits([(self.keys, self.cost)], charge)

        def noted(reply: Sequence[Any]) -> Decision | StateError:
            (self.decided,) = asked.decode(reply)
            return self.decided

        return replace(asked, decode=noted)  # type: ignore[return-value,arg-type]

    @property
    def is_admitted(self) -> bool:
        return isinstance(self.decided, Decision) and self.decided.allowed

    def give_back(self) -> Call[int] | None:
        if not isinstance(self.decided, Decision) or not self.decided.token:
            return None
        return self.plan.refund(self.keys, self.decided, self.cost)


def decide(plan: MultiPlan, keys: Keys, cost: int, charge: bool) -> Flow[Decision | StateError]:
    """Ask slot by slot, until one refuses; then, or where it ends otherwise, give back what was charged.

    The charge of a call whose reply was lost is not known: it is left to leave its window.
    """
    asked: list[_Asked] = []
    try:
        for part, own in plan.slots(keys):
            asked.append(_Asked(part, own, cost))
            yield Finish(asked[-1].call(charge))
            if charge and not asked[-1].is_admitted:
                break
    except GeneratorExit:
        raise
    except BaseException:
        yield from _give_back(asked, awaited=False)
        raise
    if not asked[-1].is_admitted:
        yield from _give_back(asked, awaited=True)
    return plan.joined(keys, [each.decided for each in asked if each.decided is not None])


def _give_back(asked: Sequence[_Asked], awaited: bool) -> Flow[None]:
    """All of it, also where the caller is cancelled, once or more, meanwhile."""
    interrupted: BaseException | None = None
    for each in asked:
        try:
            yield Cleanup(each.give_back, awaited=awaited and interrupted is None)
        except GeneratorExit:
            raise
        except BaseException as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted


def refund(plan: MultiPlan, keys: Keys, parts: Sequence[MultiDecision], cost: int) -> Flow[int]:
    """Give back in every slot, also after one that failed: repeated, it gives back what is still missing."""
    units: list[int] = []
    failure: Exception | None = None
    for (part, own), decision in zip(plan.slots(keys), parts, strict=True):
        try:
            units.append((yield Finish(part.refund(own, decision, cost), last=True)))
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return min(units)


def grouped(limiters: Iterable[L], kind: type[L]) -> tuple[L, MultiPlan, bool]:
    """The first of the limiters, what they limit together, and whether a request may need several slots."""
    several = list(limiters)
    if not several or not all(isinstance(each, kind) for each in several):
        raise ArgumentError("limiters", f"must be one or more of {kind.__module__}.{kind.__name__}")
    first = several[0]
    if any(each._hub.client is not first._hub.client or each._hub.root != first._hub.root for each in several):
        raise ArgumentError("limiters", "must share a hub")
    if len({each.name for each in several}) != len(several):
        raise ArgumentError("limiters", "holds two of the same name")
    if any(each._plan is None for each in several):
        raise ArgumentError("limiters", "must have the same limits for every key, not a source of them")
    tags = {each._plan.tag for each in several}
    return first, MultiPlan([each._plan for each in several], first._hub), len(tags) > 1 or None in tags


class MultiRateLimiter(Limiter[Mapping[str, str], MultiDecision]):
    """Several rate limiters as one: a request passes all of them, or is charged to none.

    ::

        every = MultiRateLimiter([tenants, plans, everybody])  # RateLimiters of the names "tenant", "plan", "all"
        decision = await every.hit({"tenant": "tenant-7", "plan": "gold", "all": "all"})

    Args:
        limiters: RateLimiters of one hub and of different names, with at most 32 limits together; what is shared by
            most comes last. Each goes on counting what it is asked by itself; their own options do not matter here.
        coalesce: whether hits that are made at the same time travel together.
        timeout: seconds for one decision before the server counts as gone; None: the hub's, or the client's own.
        on_error: when the server is gone: "raise", "allow", "deny" or "local"; see :class:`riskscale.RateLimiter`.
        replicas: for "local": how many share the limits.
        deny_cache: whether what was refused is refused here until its ``retry_after``, without asking again.

    Raises:
        ArgumentError: an argument is malformed.

    A key is a mapping of each limiter's name to the key that it is asked for. On a single server, and on a cluster
    where the limiters have one ``tag``, a request is one atomic call. Otherwise it is a call for each slot: no limit is
    ever exceeded, but a request that a later slot refuses is charged to the earlier ones until it is given back, a
    round trip or two later, or, where the process is killed or a reply is lost between, until it leaves the window.
    """

    _plan: MultiPlan

    def __init__(
        self,
        limiters: Iterable[RateLimiter],
        *,
        coalesce: bool = True,
        timeout: Duration | None = None,
        on_error: OnError = "raise",
        replicas: int | None = None,
        deny_cache: bool = False,
    ) -> None:
        first, plan, by_slot = grouped(limiters, RateLimiter)
        super().__init__(first._hub, plan, by_slot, coalesce, timeout, on_error, replicas, deny_cache)

    async def _send(self, plan: Plan, pairs: Pairs, charge: bool) -> Decided:
        keys, _ = pairs[0]
        if not self._by_slot or len(self._plan.slots(keys)) == 1:
            return await super()._send(plan, pairs, charge)
        return [await self._hub.drive(decide(self._plan, keys, cost, charge)) for _, cost in pairs]

    async def _give_back(self, plan: Plan, subject: Keys, decision: Decision, cost: int) -> int:
        if isinstance(decision, MultiDecision) and decision.parts:
            return await self._hub.drive(refund(self._plan, subject, decision.parts, cost))
        return await super()._give_back(plan, subject, decision, cost)
