"""Reservations without I/O: their calls, the flow that makes one, and what the facades share of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from riskscale._core.call import Call, Cleanup, Finish, Flow
from riskscale._core.durations import MAX_WINDOW_US, MICRO, Duration, integer, microseconds
from riskscale.errors import ArgumentError, StateError
from riskscale.rate.calls import MAX_COST, Decided, Decision, Plan, check_cost

if TYPE_CHECKING:
    from riskscale.rate._facade import BaseLimiter


@dataclass(slots=True)
class Booked(Decision):
    """A decision of the server on a reservation; ``start``: when it may start, by the clock of ``at``."""

    start: float = 0.0


class Booking:
    """One reservation that is asked for.

    Raises:
        ArgumentError: an argument is malformed, or the plan is not of one gcra limit.
    """

    def __init__(self, plan: Plan, key: str, cost: int, max_wait: Duration | None) -> None:
        if not plan.is_reservable:
            raise ArgumentError(
                "limits", "must be one gcra limit, and not leased, for reserve(); use wait() with others"
            )
        longest = MAX_WINDOW_US if max_wait is None else microseconds(max_wait, "max_wait", 0, MAX_WINDOW_US)
        self.pairs = ((key, check_cost(cost)),)
        self._plan, self._key, self._cost = plan, key, cost
        self._token = plan.new_token()
        self._call = plan.reserve(key, self._token, cost, longest, self._booked)

    def flow(self, budget: float | None) -> Flow[Decided]:
        """Make it. Where its outcome stays unknown, or nobody waits for it any more, it is given back."""
        try:
            booked: Decided = yield Finish(self._call, budget)
        except GeneratorExit:
            raise
        except BaseException as error:
            give_back = self._plan.settle(self._key, self._token, None, self._cost, 0)
            yield Cleanup(give_back, awaited=not isinstance(error, TimeoutError))
            raise
        return booked

    def _booked(self, reply: Sequence[int]) -> Decided:
        at_us, retry_us, remaining, reset_us, start_us = reply
        return [
            Booked(
                allowed=retry_us == 0,
                remaining=remaining,
                retry_after=math.inf if retry_us < 0 else retry_us / MICRO,
                reset_after=reset_us / MICRO,
                limit=self._plan.limits[0],
                at=at_us / MICRO,
                key=self._key,
                cost=self._cost,
                token="" if retry_us else self._token,
                limits=self._plan.limits,
                start=start_us / MICRO,
            )
        ]


class BaseReservation:
    """See :class:`riskscale.Reservation`."""

    def __init__(self, limiter: BaseLimiter, plan: Plan, decision: Decision) -> None:
        self._limiter, self._plan, self._monotonic = limiter, plan, limiter._monotonic
        self._decision = decision
        self._start = decision.start if isinstance(decision, Booked) else decision.at
        self._starts_at = self._monotonic() + self._start - decision.at
        self._is_settled = self._is_cancelled = False

    @property
    def decision(self) -> Decision:
        """What was decided: ``allowed``, ``remaining``, ``degraded`` ... ``retry_after``: when it could be reserved."""
        return self._decision

    @property
    def start(self) -> float:
        """When it may start: seconds since 1970 by the clock of the hub (None: the server's)."""
        return self._start

    def delay(self) -> float:
        """Seconds until it may start; ``inf`` if it was refused."""
        return max(0.0, self._starts_at - self._monotonic()) if self._decision.allowed else math.inf

    def raise_if_refused(self) -> None:
        """RateLimitExceeded unless it was made."""
        self._decision.raise_if_refused()

    def __bool__(self) -> bool:
        return self._decision.allowed

    def __repr__(self) -> str:
        state = "settled" if self._is_settled else f"delay={self.delay():.3f}"
        return f"<Reservation of {self._decision.key!r} cost={self._decision.cost} {state}>"

    def _settlement(self, actual: int) -> Call[tuple[bool, int]] | int:
        """The call that says what it cost, or, where none is needed, the units that came back."""
        integer(actual, "actual", 0, MAX_COST)
        decision = self._decision
        if not decision.allowed and actual:
            raise StateError("the reservation was refused: there is nothing to settle")
        self._is_cancelled |= actual == 0
        if self._is_settled or not decision.allowed:
            return 0
        if decision.degraded:
            self._is_settled = True
            rest = decision.cost - actual
            return self._limiter._refund_here(self._plan, decision, rest) if rest > 0 else 0
        start_us = round(self._start * MICRO)
        return self._plan.settle(decision.key, decision.token, start_us, decision.cost, actual)

    def _settled(self, returned: tuple[bool, int]) -> int:
        self._is_settled = True
        return returned[1]

    def _forget_denials(self) -> None:
        self._limiter._denials.forget(self._plan.keys(self._decision.key))

    def _check_begins(self) -> None:
        """Whether the body may begin now that it is time."""
        if self._is_cancelled:
            raise StateError("the reservation was cancelled: its units were given back")
