"""What is decided while the server is not to be had. Pure, but for a clock; the facades ask and tell it.

After an outage the local share goes on counting for one window, beside the server: what was admitted meanwhile still
counts, though the server knows nothing of it, and nobody gets a second quota.
"""

from __future__ import annotations

import logging
import math
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal, get_args

from riskscale._core.durations import MICRO, integer
from riskscale._core.memory import ExpiringStore
from riskscale.errors import ArgumentError, StateError
from riskscale.rate._model import MODELS, RateModel, hit
from riskscale.rate.calls import Decided, Decision, Pairs, Plan, Said, Subject, binding
from riskscale.rate.limit import Limit

log = logging.getLogger("riskscale.rate")

OnError = Literal["raise", "allow", "deny", "local"]
GONE: Final = (
    "ConnectionError",
    "TimeoutError",
    "BusyLoadingError",
    "ClusterDownError",
    "RedisClusterException",
    "ValkeyClusterException",
    "OutOfMemoryError",
    "ReadOnlyError",
)
"""Errors of a client that say nothing of the request: the server is away, loading, full, or a replica now."""
LOOKING = 2.0
"""Seconds that one may take to see whether the server is back, before another goes too."""
RETRY = 0.25
"""Seconds between attempts to reach a server that is away; meanwhile nobody waits for it."""


class Shares:
    """The same limits in this process, each for its part of the replicas, by the same keys: a changed one goes on."""

    def __init__(self, replicas: int) -> None:
        self._stores: dict[str, ExpiringStore[RateModel]] = {each: ExpiringStore(MODELS[each]) for each in MODELS}
        self._shares = lru_cache(1024)(lambda limits: [_share(limit, replicas) for limit in limits])
        self._mutex = threading.Lock()

    def hit(
        self, plan: Plan, subject: Subject, cost: int, now_us: int, charge: bool
    ) -> tuple[tuple[int, int, int], int]:
        """``retry_us``, ``remaining`` and ``reset_us`` as a script replies them, and which limit says so."""
        with self._mutex:
            outcomes = hit(self._states(plan, subject, now_us), self._shares(plan.limits), cost, now_us, charge)
        return binding([number for outcome in outcomes for number in outcome])

    def refund(self, plan: Plan, subject: Subject, cost: int, at_us: int, now_us: int) -> int:
        """The units that came back."""
        with self._mutex:
            pairs = zip(self._states(plan, subject, now_us), self._shares(plan.limits), strict=True)
            return min(model.refund(limit, cost, at_us, now_us) for model, limit in pairs)

    def _states(self, plan: Plan, subject: Subject, now_us: int) -> list[RateModel]:
        keys = zip(plan.limits, plan.keys(subject), strict=True)
        return [self._stores[limit.algorithm].get(key, now_us) for limit, key in keys]


def _share(limit: Limit, replicas: int) -> Limit:
    """One unit at the least: a share of nothing would refuse everything."""
    burst = None if limit.burst is None else max(1, limit.burst // replicas)
    return replace(limit, count=max(1, limit.count // replicas), burst=burst)


def gone() -> tuple[type[Exception], ...]:
    """The classes of such errors, of every client that is loaded: valkey-py has its own."""
    loaded = filter(None, map(sys.modules.get, ("redis.exceptions", "valkey.exceptions")))
    return OSError, *(getattr(module, name) for module in loaded for name in GONE if hasattr(module, name))


@dataclass(frozen=True, slots=True)
class Attempt:
    """Some items of one plan: what is ``settled`` without the server (None: not yet), and what it is ``asked``."""

    plan: Plan
    settled: Sequence[Decision | None]
    asked: Pairs
    charge: bool
    shared: Decided
    """Where the share was asked first: its grants for what is ``asked``."""


class Fallback:
    """Of one limiter.

    Args:
        on_error: what to do when the server is gone.
        replicas: for "local": how many share the limits.
        monotonic: seconds.
        recovered: is told how many seconds an outage was.
    """

    def __init__(
        self,
        on_error: OnError,
        replicas: int | None,
        monotonic: Callable[[], float],
        recovered: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        if on_error not in get_args(OnError):
            raise ArgumentError("on_error", f"must be one of {', '.join(get_args(OnError))}")
        if (on_error == "local") != (replicas is not None):
            raise ArgumentError("replicas", "is needed with on_error='local', and only there")
        self._on_error, self._monotonic = on_error, monotonic
        self._shares = None if replicas is None else Shares(integer(replicas, "replicas", 1, 10**6))
        self._window = 0.0  # the longest of those that were decided here
        self._recovered = recovered
        self._is_down, self._down_since = False, 0.0
        self._again_at = self._both_until = -math.inf
        self._refundable: dict[str, float] = {}
        self._mutex = threading.Lock()

    @property
    def is_down(self) -> bool:
        """Whether the last attempt found the server gone."""
        return self._is_down

    @property
    def counts_beside(self) -> bool:
        """Whether the shares count beside the server, as they do for one window after an outage."""
        return self._shares is not None and self._monotonic() < self._both_until

    def begin(self, plan: Plan, pairs: Pairs, charge: bool) -> Attempt:
        """Before the server is asked."""
        now = self._monotonic()
        if self._is_down and now < self._again_at:
            here = [self._decide(plan, key, cost, charge) for key, cost in pairs]
            self._let_refund(here, charge)
            return Attempt(plan, here, [], charge, [])
        self._again_at = now + (LOOKING if self._is_down else RETRY)  # one goes to see, the others do without
        if self._shares is None or now >= self._both_until:
            return Attempt(plan, [None] * len(pairs), pairs, charge, [])
        decisions = [self._decide(plan, key, cost, charge) for key, cost in pairs]
        settled = [None if decision.allowed else decision for decision in decisions]
        shared: Decided = [decision for decision in decisions if decision.allowed]
        asked = [pair for pair, decision in zip(pairs, decisions, strict=True) if decision.allowed]
        return Attempt(plan, settled, asked, charge, shared)

    def failed(self, error: Exception, attempt: Attempt) -> Decided:
        """The server is gone: decide what was asked of it, or raise ``error``."""
        now = self._monotonic()
        if not self._is_down:
            log.warning("limits are decided without the server (%s): %s", self._on_error, type(error).__name__)
            self._down_since = now
            self._window = self._window if now < self._both_until else 0.0
        self._is_down, self._again_at = True, now + RETRY
        if self._on_error == "raise":
            raise error
        here = attempt.shared or [self._decide(attempt.plan, *pair, attempt.charge) for pair in attempt.asked]
        self._let_refund(here, attempt.charge)
        return merged(attempt.settled, here)

    def answered(self, attempt: Attempt, decided: Decided) -> Decided:
        """The server is there: its decisions, and those that were made without it."""
        now = self._monotonic()
        if self._is_down:
            log.warning("limits are decided by the server again")
            self._is_down, self._both_until = False, now + self._window
            self._recovered(now - self._down_since)
        if attempt.charge and now < self._both_until:
            decided = [self._within_share(attempt.plan, each, bool(attempt.shared)) for each in decided]
        return merged(attempt.settled, decided)

    def _within_share(self, plan: Plan, decided: Decision | StateError, has_share: bool) -> Decision | StateError:
        """The share counts what the server admits meanwhile, and nothing else."""
        if self._shares is None or isinstance(decided, StateError) or decided.allowed == has_share:
            return decided
        if has_share:
            self._shares.refund(plan, decided.subject, decided.cost, self._now_us(), self._now_us())
            return decided
        local = self._decide(plan, decided.subject, decided.cost, True)
        return decided if local.allowed else local

    def refund(self, plan: Plan, decision: Decision, cost: int) -> int:
        """Give back what was decided here; the units that came back."""
        with self._mutex:
            if self._shares is None or self._refundable.pop(decision.token, None) is None:
                return 0
        now_us = self._now_us()
        at_us = now_us - max(0, round((time.time() - decision.at) * MICRO))
        return self._shares.refund(plan, decision.subject, cost, at_us, now_us)

    def _now_us(self) -> int:
        return int(self._monotonic() * MICRO)

    def _decide(self, plan: Plan, subject: Subject, cost: int, charge: bool) -> Decision:
        retry_after, remaining, reset_us, which = 0.0 if self._on_error == "allow" else RETRY, 0, 0, 0
        if self._shares is not None:
            self._window = max(self._window, max(limit.window_us for limit in plan.limits) / MICRO)
            (retry_us, remaining, reset_us), which = self._shares.hit(plan, subject, cost, self._now_us(), charge)
            retry_after = retry_us / MICRO if retry_us >= 0 else RETRY  # too much for a share, perhaps not for all
        reset_after = reset_us / MICRO
        return plan.made(subject, cost, which, Said(remaining, retry_after, reset_after, time.time(), degraded=True))

    def _let_refund(self, decided: Sequence[Decision | StateError], charge: bool) -> None:
        """Give those that the share admitted a token: each can be given back once, while it counts."""
        if self._shares is None or not charge:
            return
        now = self._monotonic()
        with self._mutex:
            while self._refundable and (oldest := next(iter(self._refundable))) and self._refundable[oldest] <= now:
                del self._refundable[oldest]
            for each in decided:
                if isinstance(each, Decision) and each.allowed:
                    each.token = secrets.token_hex(6)
                    self._refundable[each.token] = now + self._window


def merged(settled: Sequence[Decision | None], rest: Decided) -> Decided:
    """What was settled, and in its gaps the rest."""
    following = iter(rest)
    return [each if each is not None else next(following) for each in settled]
