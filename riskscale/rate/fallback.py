"""What is decided while the server is not to be had. Pure, but for a clock; the facades ask and tell it.

After an outage the local share goes on counting for one window, beside the server: what was admitted meanwhile still
counts, though the server knows nothing of it, and nobody gets a second quota.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal, get_args

from redis import exceptions as client

from riskscale._core.durations import MICRO, integer
from riskscale._core.memory import ExpiringStore
from riskscale.errors import ArgumentError
from riskscale.rate._model import MODELS, RateModel, hit
from riskscale.rate.calls import Decided, Decision, Pairs, Plan, Subject, binding
from riskscale.rate.limit import Limit

log = logging.getLogger("riskscale.rate")

OnError = Literal["raise", "allow", "deny", "local"]
GONE: Final = (
    client.ConnectionError,
    client.TimeoutError,
    client.BusyLoadingError,
    client.ClusterDownError,
    client.OutOfMemoryError,
    client.ReadOnlyError,
    OSError,
    TimeoutError,
)
"""Errors that say nothing of the request: the server is away, loading, full, or a replica now."""
RETRY = 0.25
"""Seconds between attempts to reach a server that is away; meanwhile nobody waits for it."""


class Shares:
    """The same limits in this process, each for its part of the replicas."""

    def __init__(self, plan: Plan, replicas: int) -> None:
        self.limits = [_share(limit, replicas) for limit in plan.limits]
        self._keys = plan.keys
        self._stores: list[ExpiringStore[RateModel]] = [ExpiringStore(MODELS[each.algorithm]) for each in plan.limits]
        self._mutex = threading.Lock()

    def hit(self, subject: Subject, cost: int, now_us: int, charge: bool) -> tuple[tuple[int, int, int], int]:
        """``retry_us``, ``remaining`` and ``reset_us`` as a script replies them, and which limit says so."""
        with self._mutex:
            outcomes = hit(self._states(subject, now_us), self.limits, cost, now_us, charge)
        return binding([number for outcome in outcomes for number in outcome])

    def refund(self, subject: Subject, cost: int, at_us: int, now_us: int) -> int:
        """The units that came back."""
        with self._mutex:
            pairs = zip(self._states(subject, now_us), self.limits, strict=True)
            return min(model.refund(limit, cost, at_us, now_us) for model, limit in pairs)

    def _states(self, subject: Subject, now_us: int) -> list[RateModel]:
        return [store.get(key, now_us) for store, key in zip(self._stores, self._keys(subject), strict=True)]


def _share(limit: Limit, replicas: int) -> Limit:
    """One unit at the least: a share of nothing would refuse everything."""
    burst = None if limit.burst is None else max(1, limit.burst // replicas)
    return replace(limit, count=max(1, limit.count // replicas), burst=burst)


class Fallback:
    """Of one limiter.

    Args:
        plan: of the limiter.
        on_error: what to do when the server is gone.
        replicas: for "local": how many share the limits.
        monotonic: seconds.
        recovered: is told how many seconds an outage was.
    """

    def __init__(
        self,
        plan: Plan,
        on_error: OnError,
        replicas: int | None,
        monotonic: Callable[[], float],
        recovered: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        if on_error not in get_args(OnError):
            raise ArgumentError("on_error", f"must be one of {', '.join(get_args(OnError))}")
        if (on_error == "local") != (replicas is not None):
            raise ArgumentError("replicas", "is needed with on_error='local', and only there")
        self._plan, self._on_error, self._monotonic = plan, on_error, monotonic
        self._shares = None if replicas is None else Shares(plan, integer(replicas, "replicas", 1, 10**6))
        self._window = max(limit.window_us for limit in plan.limits) / MICRO
        self._recovered = recovered
        self._is_down, self._down_since = False, 0.0
        self._again_at = self._both_until = -math.inf
        self._refundable: dict[str, float] = {}

    @property
    def is_down(self) -> bool:
        """Whether the last attempt found the server gone."""
        return self._is_down

    def begin(self, pairs: Pairs, charge: bool) -> tuple[list[Decision | None], Pairs]:
        """What is decided without the server (None: not yet), and the items to ask it for."""
        now = self._monotonic()
        if self._is_down and now < self._again_at:
            return [self._decide(key, cost, charge) for key, cost in pairs], []
        self._again_at = now + RETRY  # one goes to see, the others do without
        if self._shares is None or now >= self._both_until:
            return [None] * len(pairs), pairs
        settled: list[Decision | None] = []
        for key, cost in pairs:
            decision = self._decide(key, cost, charge)
            settled.append(None if decision.allowed else decision)
        return settled, [pair for pair, decision in zip(pairs, settled, strict=True) if decision is None]

    def failed(self, error: Exception, settled: Sequence[Decision | None], pairs: Pairs, charge: bool) -> Decided:
        """The server is gone: decide what was asked of it, or raise ``error``."""
        now = self._monotonic()
        if not self._is_down:
            log.warning("limits are decided without the server (%s): %s", self._on_error, type(error).__name__)
            self._down_since = now
        counted = self._shares is not None and now < self._both_until
        self._is_down, self._again_at = True, now + RETRY
        if self._on_error == "raise":
            raise error
        rest: Decided = [self._decide(key, cost, charge and not counted) for key, cost in pairs]
        return merged(settled, rest)

    def answered(self, settled: Sequence[Decision | None], decided: Decided, charge: bool) -> Decided:
        """The server is there: its decisions, and those that were made without it."""
        now = self._monotonic()
        if self._is_down:
            log.warning("limits are decided by the server again")
            self._is_down, self._both_until = False, now + self._window
            self._recovered(now - self._down_since)
        if self._shares is not None and charge and now < self._both_until:
            for each in decided:
                if isinstance(each, Decision) and not each.allowed:  # it took its share, and was not let through
                    self._shares.refund(each.subject, each.cost, self._now_us(), self._now_us())
        return merged(settled, decided)

    def refund(self, decision: Decision, cost: int) -> int:
        """Give back what was decided here; the units that came back."""
        if self._shares is None or self._refundable.pop(decision.token, None) is None:
            return 0
        now_us = self._now_us()
        at_us = now_us - max(0, round((time.time() - decision.at) * MICRO))
        return self._shares.refund(decision.subject, cost, at_us, now_us)

    def _now_us(self) -> int:
        return int(self._monotonic() * MICRO)

    def _decide(self, subject: Subject, cost: int, charge: bool) -> Decision:
        retry_after, remaining, reset_us, which = 0.0 if self._on_error == "allow" else RETRY, 0, 0, 0
        if self._shares is not None:
            (retry_us, remaining, reset_us), which = self._shares.hit(subject, cost, self._now_us(), charge)
            retry_after = retry_us / MICRO if retry_us >= 0 else RETRY  # too much for a share, perhaps not for all
        token = self._new_token() if charge and retry_after == 0 and self._shares is not None else ""
        reset_after = reset_us / MICRO
        return self._plan.made(subject, cost, which, remaining, retry_after, reset_after, time.time(), token, True)

    def _new_token(self) -> str:
        """It can be given back once, while it counts."""
        now, token = self._monotonic(), secrets.token_hex(6)
        while self._refundable and (oldest := next(iter(self._refundable))) and self._refundable[oldest] <= now:
            del self._refundable[oldest]
        self._refundable[token] = now + self._window
        return token


def merged(settled: Sequence[Decision | None], rest: Decided) -> Decided:
    """What was settled, and in its gaps the rest."""
    following = iter(rest)
    return [each if each is not None else next(following) for each in settled]
