"""The rate limits' script calls: pure functions, no I/O."""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

from riskscale._core.call import Arg, Call, line
from riskscale._core.durations import MICRO, integer
from riskscale._core.keys import base_key, check_name, name_part
from riskscale.errors import ArgumentError, RateLimitExceeded, StateError
from riskscale.rate.limit import Limit, as_limits

MAX_COST = 10**15
REMEMBERED = 4096
"""Names of keys that are not made anew for each hit."""
LONG = 256
"""Keys of more characters are not remembered: clients may choose them, and thousands of those would fill the memory."""
Subject: TypeAlias = Any
"""Whose request it is: a key; of several limiters at once a tuple of keys, one a limiter."""
Pairs: TypeAlias = Sequence[tuple[Subject, int]]
"""Subjects and costs."""
D = TypeVar("D", bound="Decision")
T = TypeVar("T")


@dataclass(slots=True)
class Decision:  # not frozen: setting fields past that guard would be a tenth of what a hit costs among others
    """The answer to one request; true if it was admitted.

    Attributes:
        allowed: whether it was admitted.
        remaining: units left now, under the limit that has the fewest.
        retry_after: seconds after which it would pass if nobody else came first; 0.0 if it was admitted, ``inf`` if
            it never will (its cost exceeds a limit).
        reset_after: seconds until nothing that was admitted counts any more.
        limit: the limit that refused it for longest, or the one with the fewest units left.
        at: when it was decided: seconds since 1970 by the clock of the hub (None: the server's).
        key: whose request it was.
        cost: units it asked for.
        token: makes a refund of it count once; "" for a peek.
        degraded: whether it was made without the server, as ``on_error`` says; ``remaining`` is then of the local
            share, or 0 where nothing is known.
        limits: all that it had to pass: those that its key had when it was decided.
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float
    limit: Limit
    at: float
    key: str
    cost: int
    token: str = field(repr=False)
    degraded: bool = False
    limits: tuple[Limit, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def subject(self) -> Subject:
        """What a refund of it names."""
        return self.key

    def raise_if_refused(self) -> None:
        """RateLimitExceeded unless it was admitted."""
        if not self.allowed:
            raise RateLimitExceeded(self.key, str(self.limit), self.retry_after)


Decided: TypeAlias = list[Decision | StateError]


class Said(NamedTuple):
    """What one limit answered, as :class:`Decision` names it."""

    remaining: int
    retry_after: float
    reset_after: float
    at: float
    token: str = ""
    degraded: bool = False


class Plan:
    """The limits of one limiter, with everything about their calls that does not change from hit to hit."""

    def __init__(self, root: str, limits: Limit | Iterable[Limit], name: str, tag: str | None) -> None:
        self.limits = as_limits(limits)
        self.name = name
        self._root, self.tag = root, tag
        self._roles = [f":rate:{name_part(name)}:{name_part(each.label)}:{each.algorithm}" for each in self.limits]
        self.words = tuple(word for limit in self.limits for word in _words(limit))
        first = self.limits[0]
        if len(self.limits) == 1:
            fixed = self.words[1:] if first.algorithm == "gcra" else self.words[1:3]
            self._prepare(f"rate.{first.algorithm}", fixed, 128 if first.algorithm == "sliding_log" else 512)
        else:
            self._prepare_all_of()

    def _prepare_all_of(self) -> None:
        self._prepare("rate.all_of", (len(self.limits), *self.words), 128 // len(self.limits))

    def _prepare(self, script: str, fixed: tuple[Arg, ...], most: int) -> None:
        self._script, self._fixed, self.most, self._is_all_of = script, fixed, most, script == "rate.all_of"
        self.is_reservable = script == "rate.gcra"
        """Whether it is one gcra limit: what reservations can be made under."""
        self.kind: tuple[str, tuple[Arg, ...]] = (script, (*fixed, b"1"))
        """The script and the words before those of the items: plans that have them in common share a call."""
        self._nonce, self._serial = secrets.token_hex(6), itertools.count()
        self.keys = remembered(self._keys)
        """The keys of a subject, one a limit."""

    @property
    def policies(self) -> list[tuple[str, Limit]]:
        """Its limits, each with the name of its limiter."""
        return [(self.name, limit) for limit in self.limits]

    def policy_of(self, decision: Decision) -> tuple[str, Limit]:
        """The one of them that a decision names."""
        return self.name, decision.limit

    def subject(self, key: Any) -> Subject:
        """What a caller gave, checked."""
        return key if isinstance(key, str) else check_name(key, "key")

    def _keys(self, key: Subject) -> tuple[bytes, ...]:
        base = base_key(self._root, key, self.tag, "key")
        return tuple((base + role).encode() for role in self._roles)

    def keys_of(self, items: Pairs) -> Sequence[bytes]:
        """The keys of items, in the order of KEYS."""
        if len(items) == 1:
            return self.keys(items[0][0])
        return [key for name, _ in items for key in self.keys(name)]

    def words_of(self, items: Pairs) -> Sequence[Arg]:
        """Their costs."""
        return [b"1" if cost == 1 else cost for _, cost in items]  # an int takes a client longer

    def hits(self, items: Pairs, charge: bool) -> Call[Decided]:
        """``items`` in one call, at most ``most`` of them."""
        args = (*self._fixed, b"1" if charge else b"0", *self.words_of(items))
        keys = tuple(self.keys_of(items))
        return Call(self._script, keys, args, lambda reply: self.decided(line(reply), items, charge=charge))

    def refund(self, key: Subject, decision: Decision, cost: int) -> Call[int]:
        """Give back ``cost`` units of a decision; the units that came back, the fewest over the limits."""
        check_refund(key, decision, cost)
        self.check_own(decision)
        at_us = round(decision.at * MICRO)
        if not self.is_reservable:
            return self.give_back(key, at_us, decision.token, cost)
        settled = self.settle(key, decision.token, at_us, decision.cost, decision.cost - cost)  # beside reservations
        return Call(settled.script, settled.keys, settled.args, lambda reply: settled.decode(reply)[1])

    def give_back(self, key: Subject, at_us: int, token: str, units: int) -> Call[int]:
        """Units of what was admitted, or lent until, ``at_us``; once for each token."""
        marks = [(each, each + b":refund:" + token.encode()) for each in self.keys(key)]
        args: tuple[Arg, ...] = (len(self.limits), *self.words, at_us, units)
        keys = tuple(each for pair in marks for each in pair)
        return Call("rate.refund", keys, args, lambda reply: _fewest(reply[1:], key))

    def reserve(
        self, key: str, token: str, cost: int, max_wait_us: int, decode: Callable[[Sequence[int]], T]
    ) -> Call[T]:
        """Book ``cost`` units that start within ``max_wait_us``."""
        return Call("rate.reserve", self._ledger(key), (*self._fixed, token, cost, max_wait_us), decode)

    def settle(self, key: str, token: str, start_us: int | None, cost: int, actual: int) -> Call[tuple[bool, int]]:
        """What a reservation or a hit really cost; whether this call settled it, and the units that came back."""
        args = (*self._fixed, token, "" if start_us is None else start_us, cost, actual)
        return Call("rate.settle", self._ledger(key), args, lambda reply: (reply[1] == 1, reply[2]))

    def check_own(self, decision: Decision) -> None:
        """ArgumentError where another limiter made it."""
        if not decision.token.startswith(self._nonce):
            raise ArgumentError("decision", "is another limiter's")

    def new_token(self) -> str:
        """One per decision that is charged."""
        return f"{self._nonce}{next(self._serial):x}"

    def _ledger(self, key: str) -> tuple[bytes, ...]:
        (counted,) = self.keys(key)
        return counted, counted + b":reservations", counted + b":starts"

    def reset(self, key: str) -> Call[None]:
        """Forget what ``key`` used."""
        keys = self._ledger(key) if self.is_reservable else self.keys(key)
        return Call("rate.reset", keys, (), lambda reply: _no_state_error(reply, key))

    def decided(self, numbers: Sequence[int], items: Pairs, first: int = 0, *, charge: bool = True) -> Decided:
        """What a reply says of ``items``, which were the ``first`` and following of the call."""
        width, at = 3 * len(self.limits), numbers[0] / MICRO
        start, limit = 1 + first * width, self.limits[0]
        decisions: Decided = []
        for key, cost in items:
            row = numbers[start : start + width]
            start += width
            if self._is_all_of:
                decisions.append(self._of_several(row, key, cost, at, charge))
                continue
            retry_us, remaining, reset_us = row
            if retry_us == 0:
                token, reset = self.new_token() if charge else "", reset_us / MICRO
                decisions.append(Decision(True, remaining, 0.0, reset, limit, at, key, cost, token, False, self.limits))
            elif retry_us == -2:
                decisions.append(holds_something_else(key))
            else:
                wait, reset = math.inf if retry_us < 0 else retry_us / MICRO, reset_us / MICRO
                decisions.append(Decision(False, remaining, wait, reset, limit, at, key, cost, "", False, self.limits))
        return decisions

    def _of_several(
        self, row: Sequence[int], key: Subject, cost: int, at: float, charge: bool
    ) -> Decision | StateError:
        (retry_us, remaining, reset_us), which = binding(row)
        if retry_us == -2:
            return self.poisoned(key, which)
        retry_after = math.inf if retry_us < 0 else retry_us / MICRO
        token = f"{self._nonce}{next(self._serial):x}" if charge and not retry_us else ""
        return self.made(key, cost, which, Said(remaining, retry_after, reset_us / MICRO, at, token))

    def made(self, key: Subject, cost: int, which: int, said: Said) -> Decision:
        """A decision that names limit number ``which``."""
        return Decision(
            said.retry_after == 0, said.remaining, said.retry_after, said.reset_after, self.limits[which], said.at,
            key, cost, said.token, said.degraded, self.limits,
        )  # fmt: skip

    def poisoned(self, key: Subject, which: int) -> StateError:
        """The key of limit number ``which`` holds something else."""
        return holds_something_else(key)


def is_long(subject: Subject) -> bool:
    """Whether one of its keys is."""
    return (
        len(subject) > LONG if isinstance(subject, str) else isinstance(subject, tuple) and any(map(is_long, subject))
    )


def remembered(make: Callable[[Subject], T]) -> Callable[[Subject], T]:
    """``make``, which is asked once for a subject that is not long."""
    short = lru_cache(REMEMBERED)(make)
    return lambda subject: make(subject) if is_long(subject) else short(subject)


def check_cost(cost: int) -> int:
    """A cost of 1 or more; ArgumentError names ``peek`` for 0."""
    if type(cost) is int and 0 < cost <= MAX_COST:
        return cost
    if cost == 0 and not isinstance(cost, bool):
        raise ArgumentError("cost", "must be 1 or more; to look without a charge, use peek()")
    return integer(cost, "cost", 1, MAX_COST)


def check_refund(key: str, decision: Decision, cost: int) -> None:
    """Whether it can be given back at all."""
    if not isinstance(decision, Decision) or not (decision.token or decision.degraded) or not decision.allowed:
        raise ArgumentError("decision", "must be of a hit that was admitted")
    if key != decision.subject:
        raise ArgumentError("key", "is not the one that the decision was for")
    integer(cost, "cost", 1, decision.cost)


def check_items(items: Iterable[Any], plan: Plan | None) -> Pairs:
    """Subjects and costs of ``hit_many``, every one checked before anything is sent. Without a plan they are keys."""
    pairs = [item if isinstance(item, tuple) else (item, 1) for item in items]
    if not all(len(pair) == 2 for pair in pairs):
        raise ArgumentError("items", "must be keys, or pairs of a key and its cost")
    if plan is None:
        return [(check_name(key, "key"), check_cost(cost)) for key, cost in pairs]
    checked = [(plan.subject(key), check_cost(cost)) for key, cost in pairs]
    plan.keys_of(checked)
    return checked


def binding(row: Sequence[int]) -> tuple[tuple[int, int, int], int]:
    """Of several limits' outcomes one: the longest wait, the fewest units, the last reset; and which limit says so."""
    waits, lefts = row[0::3], row[1::3]
    retry_us = -2 if -2 in waits else -1 if -1 in waits else max(waits)
    which = waits.index(retry_us) if retry_us else lefts.index(min(lefts))
    return (retry_us, min(lefts), max(row[2::3])), which


def only(results: Sequence[D | StateError]) -> D:
    """The one decision; its StateError is raised."""
    if isinstance(results[0], StateError):
        raise results[0]
    return results[0]


def _words(limit: Limit) -> tuple[bytes, ...]:
    """Encoded once, here: a client's encoder is a good part of a call."""
    burst = limit.capacity if limit.algorithm == "gcra" else 0
    return tuple(str(word).encode() for word in (limit.algorithm, limit.count, limit.window_us, burst))


def _no_state_error(statuses: Sequence[int], key: str) -> None:
    if -2 in statuses:
        raise holds_something_else(key)


def _fewest(statuses: Sequence[int], key: str) -> int:
    _no_state_error(statuses, key)
    return min(statuses)


def holds_something_else(key: str) -> StateError:
    return StateError(f"a key of {key[:80]!r} holds something else; it was left untouched")
