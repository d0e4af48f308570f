"""Reservations and limited functions for threads; see :mod:`riskscale.rate.reservation`."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from riskscale._core.call import Call
from riskscale._core.durations import Duration
from riskscale.errors import ArgumentError
from riskscale.rate.booking import BaseReservation
from riskscale.rate.calls import Decision, Plan
from riskscale.rate.limited import BaseLimited, Cost, Key
from riskscale.rate.reservation import give_back

if TYPE_CHECKING:
    from riskscale.sync.rate import RateLimiter

P = ParamSpec("P")
R = TypeVar("R")


class Reservation(BaseReservation):
    """Units booked ahead, of :meth:`riskscale.sync.RateLimiter.reserve`; see :class:`riskscale.Reservation`."""

    def __init__(self, limiter: RateLimiter, plan: Plan, decision: Decision) -> None:
        super().__init__(limiter, plan, decision)
        self._hub = limiter._hub

    def wait(self) -> None:
        """See :meth:`riskscale.Reservation.wait`; an exception such as KeyboardInterrupt cancels it."""
        self.raise_if_refused()
        began = self._limiter._monotonic()
        try:
            time.sleep(self.delay())
        except BaseException:
            self._give_back()
            raise
        self._limiter._waited(began)
        self._check_begins()

    def settle(self, actual: int) -> int:
        """See :meth:`riskscale.Reservation.settle`."""
        settlement = self._settlement(actual)
        if isinstance(settlement, int):
            return settlement
        try:
            return self._settled(self._hub.run(settlement))
        finally:
            self._forget_denials()

    def _give_back(self) -> None:
        settlement = self._settlement(0)
        if isinstance(settlement, Call):
            try:
                self._hub.drive(give_back(settlement))
            finally:
                self._forget_denials()

    def cancel(self) -> int:
        """Give it back: :meth:`settle` with 0. The units that came back."""
        return self.settle(0)

    def __enter__(self) -> Reservation:
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """What began is used up, until it is settled."""


class Limited(BaseLimited):
    """For threads: ``with``, and a decorator of functions."""

    def __init__(self, limiter: RateLimiter, key: Key, cost: Cost, wait: Duration | None) -> None:
        super().__init__(key, cost, wait)
        self._limiter = limiter

    def __enter__(self) -> Decision:
        return self._limiter._admit(*self._of_block(), self._wait)

    def __exit__(self, *_: object) -> None:
        """What began is used up."""

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The same function, limited."""
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ArgumentError("function", "must be a plain function; riskscale limits coroutine functions")

        @functools.wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            self._limiter._admit(*self._of_call(*args, **kwargs), self._wait)
            return function(*args, **kwargs)

        return limited
