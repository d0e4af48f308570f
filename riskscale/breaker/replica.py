"""One replica of a breaker: what it lets pass and what it makes of the outcome. No I/O; any number of threads or tasks.

This one is alone; :mod:`riskscale.breaker.shared` has the one that shares.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from riskscale._core.durations import MICRO
from riskscale._core.meter import Meter
from riskscale.breaker._model import LocalCircuit, Step
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.state import SLOW, BreakerInfo, BreakerState, Transition, transition
from riskscale.breaker.window import CountWindow, TimeWindow
from riskscale.errors import CircuitOpen

log = logging.getLogger("riskscale.breaker")

Tell: TypeAlias = Callable[[Any, Transition | None], None]


class Permit(NamedTuple):
    """One call that was let through."""

    generation: int
    began_us: int
    token: str = ""
    """Of a probe."""
    is_shared: bool = False
    """Whether the server gave it."""


class Replica:
    """Of one breaker.

    Args:
        name: of the breaker.
        policy: by which it decides.
        by: what its transitions say of who noticed.
        monotonic: seconds.
    """

    def __init__(
        self, name: str, policy: BreakerPolicy, by: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.name, self.policy, self.rules = name, policy, policy.rules
        window = TimeWindow(self.rules.window_us) if policy.window_calls is None else CountWindow(policy.window_calls)
        self.own = LocalCircuit(window, self._changed)
        self._listeners: weakref.WeakKeyDictionary[Any, Tell] = weakref.WeakKeyDictionary()
        self._listening = threading.Lock()
        self._by, self._monotonic = by, monotonic
        self.is_ready = True
        """Whether it knows enough to decide."""
        self.urgent = False
        """Whether there is something to tell the server at once."""
        self._meter: Meter | None = None
        self._counted_state = BreakerState.CLOSED
        self.is_over = False
        """Whether nobody will hear of changes any more."""
        self._is_timed = self.rules.slow_us > 0
        self._permit = Permit(0, 0)
        """Of the present generation, where nobody asks when a call began."""
        self._mutex = threading.Lock()
        self._news: deque[Transition] = deque()
        self._last: Transition | None = None

    @property
    def state(self) -> BreakerState:
        """As the next call will find it, if nothing happens until then."""
        return self.own.state

    @property
    def remaining(self) -> float:
        """Seconds that are left of it."""
        return self.own.remaining_us(self._now_us()) / MICRO

    def listen(self, listener: Any, tell: Tell) -> None:
        """``tell(listener, transition)`` of every change, for as long as somebody else holds ``listener``."""
        with self._listening:
            self._listeners[listener] = tell

    def count(self, meter: Meter) -> None:
        """Changes, from now on; once, however many objects there are of it."""
        if self._meter is None:
            self._meter = meter
            meter.gauge("circuit_breaker_state", 1, breaker=self.name, state=self._counted_state)

    def enter_closed(self) -> Permit | None:
        """A permit for one call, if that is as simple as it mostly is; None: :meth:`enter`."""
        own = self.own
        if own.state is BreakerState.CLOSED and self.is_ready:
            return Permit(own.generation, self._now_us()) if self._is_timed else self._permit
        return None

    def enter(self) -> Permit | None:
        """A permit for one call; None where the server has to be asked for it.

        Raises:
            CircuitOpen: it is refused.
        """
        try:
            with self._mutex:
                return self._enter(self._now_us())
        finally:
            self._tell()

    def leave(self, permit: Permit, failed: bool | None) -> None:
        """The end of that call; None if it says nothing of the dependency."""
        now_us = self._now_us()
        kind = None if failed is None else int(failed)
        if self._is_timed and kind is not None and now_us - permit.began_us >= self.rules.slow_us:
            kind |= SLOW
        with self._mutex:
            if permit.token:
                self._end_probe(permit, kind, now_us)
            elif kind is not None and permit.generation == self.own.generation:
                self._record(kind, now_us)
        if self._news:
            self._tell()

    def info(self) -> BreakerInfo:
        """What there is to see of it."""
        with self._mutex:
            own, now_us = self.own, self._now_us()
            half_open = own.state is BreakerState.HALF_OPEN
            return BreakerInfo(
                known=True,
                state=own.state,
                remaining=own.remaining_us(now_us) / MICRO,
                transition=self._last,
                opens=own.opens,
                counts=own.trial if half_open else own.window.counts(now_us),
                probes=len(own.probes),
                replicas=1,
                votes=int(own.finds_it_bad(self.rules, now_us)),
                policy=self.rules,
            )

    def force(self, state: BreakerState, length_us: int, reason: str) -> None:
        """Change it by hand."""
        with self._mutex:
            self.own.force(self._step(self._now_us()), state, length_us, reason)
        self._tell()

    def _enter(self, now_us: int) -> Permit | None:
        own = self.own
        if own.state is BreakerState.OPEN and now_us < own.until_us:  # a shorter way to the same answer
            raise CircuitOpen(self.name, (own.until_us - now_us) / MICRO)
        token = secrets.token_hex(8)
        admission = own.probe(self._step(now_us), token)
        if not admission.admitted:
            wait_us = admission.wait_us
            raise CircuitOpen(self.name, (wait_us if own.state is BreakerState.OPEN else self._soon(wait_us)) / MICRO)
        return Permit(own.generation, now_us, token if admission.admitted == 1 else "")

    def _soon(self, wait_us: int) -> int:
        """While it is half-open: a probe may end long before its lease."""
        return min(wait_us, self.policy.refresh_us)

    def _end_probe(self, permit: Permit, kind: int | None, now_us: int) -> None:
        self.own.finish(self._step(now_us), permit.token, kind)

    def _record(self, kind: int, now_us: int) -> None:
        reason = self.own.record(self.rules, kind, now_us)
        if reason:
            self.own.trip(self._step(now_us), reason)

    def _now_us(self) -> int:
        return int(self._monotonic() * MICRO)

    def _step(self, now_us: int) -> Step:
        return Step(self.rules, now_us, self._by, self._drawn())

    def _drawn(self) -> int:
        """Thousandths by which an opening is to be longer."""
        most = self.policy.jitter_pm
        return random.randint(0, most) if most else 0  # noqa: S311 - it spreads, it hides nothing

    def _changed(self) -> None:
        """From the circuit: it has changed by itself."""
        own = self.own
        self._permit = Permit(own.generation, 0)
        self._last = transition(own, self.name, time.time(), shared=False)
        self._news.append(self._last)

    def _tell(self) -> None:
        while self._news:
            try:
                transition = self._news.popleft()
            except IndexError:  # another thread tells it
                return
            level = logging.WARNING if transition.after is BreakerState.OPEN else logging.INFO
            words = (self.name, transition.before, transition.after, transition.reason, transition.by)
            log.log(level, "breaker %r: %s -> %s (%r, by %s)", *words)  # a reason may be anybody's
            before, after = self._counted_state, transition.after
            if after is not before:  # and not how all others followed
                self._counted_state = after
                if self._meter is not None:
                    self._count_change(self._meter, before, after)
            self._spread(transition)

    def _count_change(self, meter: Meter, before: BreakerState, after: BreakerState) -> None:
        meter.increment("circuit_breaker_state_change", breaker=self.name, state=after)
        for state in (before, after):
            meter.gauge("circuit_breaker_state", int(state is after), breaker=self.name, state=state)

    def _spread(self, transition: Transition | None) -> None:
        with self._listening:
            listeners = list(self._listeners.items())
        for listener, tell in listeners:
            tell(listener, transition)
