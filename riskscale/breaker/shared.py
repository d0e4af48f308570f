"""One replica of a breaker that replicas share: what it tells the server, and what it makes of the replies. No I/O.

Its own circuit decides each call. It *follows* the shared one: takes over each newer generation, and asks before it
tries again. Where the replica alone finds the dependency bad, or the server is gone, its circuit goes its own way by
the same rules: it has *diverged*, until the server says something else than closed, or something newer.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable

from riskscale._core.call import Call
from riskscale._core.durations import MICRO
from riskscale._core.nodes import new_node
from riskscale.breaker import calls
from riskscale.breaker._model import Known
from riskscale.breaker.calls import Asked, BreakerKeys, Snapshot
from riskscale.breaker.outbox import Outbox
from riskscale.breaker.policy import BreakerPolicy
from riskscale.breaker.replica import Permit, Replica, log
from riskscale.breaker.state import ADMITTING, BreakerState
from riskscale.errors import CircuitOpen, HubClosed

ANSWER_US = MICRO
"""How long an answer may take before the server counts as gone."""
MEANWHILE = 0.01
"""Seconds after which to come again, told to those who come while another asks for a permit."""


class SharedReplica(Replica):
    """Of one breaker, whose keys and channel are given."""

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        keys: BreakerKeys,
        channel: str,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        inline: bool = False,
    ) -> None:
        self.node = new_node()
        super().__init__(name, policy, self.node, monotonic)
        self.keys, self.channel = keys, channel
        self.token = keys.breaker.decode()
        """By which messages find it."""
        self.wake: Callable[[], None] = lambda: None
        """Called when there is something to do at once, perhaps inside of the mutex."""
        self.is_gone = False
        """Whether the server gave no answer the last time."""
        self.is_ready = False
        self._inline = inline
        self._known, self._known_until_us = Known(), 0
        self._seen_policy = self.rules
        self._inbox: deque[str] = deque()
        self._outbox = Outbox(self.rules.window_us)
        self._run_at_trip = 0
        self._sent_us: int | None = None
        self._next_us = self._ask_at_us = self._asking_until_us = 0

    # Calls

    def _enter(self, now_us: int) -> Permit | None:
        own = self.own
        if self.has_diverged or self._seems_gone(now_us):
            return super()._enter(now_us)
        if own.state in ADMITTING:
            if own.until_us and own.until_us <= now_us:
                self._urge()
            return Permit(own.generation, now_us)
        wait_us = (own.until_us if own.state is BreakerState.OPEN else self._ask_at_us) - now_us
        if wait_us > 0:
            raise CircuitOpen(self.name, wait_us / MICRO)
        if now_us < self._asking_until_us:
            raise CircuitOpen(self.name, MEANWHILE)
        self._asking_until_us = now_us + ANSWER_US
        return None

    def _end_probe(self, permit: Permit, kind: int | None, now_us: int) -> None:
        if permit.is_shared:
            self._outbox.probes.append((permit.token, kind))
            self._urge()
        else:
            super()._end_probe(permit, kind, now_us)

    def _record(self, kind: int, now_us: int) -> None:
        if self.own.state is not BreakerState.DISABLED:
            self._outbox.note(kind, now_us)
            if self._outbox.failures >= self.policy.flush_failures:
                self._urge()
        super()._record(kind, now_us)

    def _changed(self) -> None:
        """From the circuit: it went its own way."""
        super()._changed()
        own = self.own
        if own.reason == "consecutive_failures":
            self._run_at_trip = self.rules.consecutive
        elif own.state is BreakerState.CLOSED:
            self._run_at_trip = 0
        self._urge()

    def _urge(self) -> None:
        self.urgent = True
        self.wake()

    # What there is to send

    @property
    def due_in(self) -> float:
        """Seconds until the next report is due; infinite while one is under way."""
        if self._sent_us is not None:
            return math.inf
        if self.urgent and not self.is_gone:
            return 0.0
        return (self._next_us - self._now_us()) / MICRO

    @property
    def is_reporting(self) -> bool:
        """Whether a report is under way."""
        return self._sent_us is not None

    @property
    def is_stale(self) -> bool:
        """Whether a call should wait for the reply to a report; not for one that is overdue."""
        sent_us = self._sent_us
        return self.due_in <= 0 if sent_us is None else self._now_us() - sent_us <= ANSWER_US

    @property
    def has_news(self) -> bool:
        """Whether there is something that was not reported."""
        return not self._outbox.is_empty

    def report(self) -> Call[Snapshot] | None:
        """The next report, or again the last one if it was not answered; None while one is under way.

        Followed by :meth:`reported` or :meth:`failed`.
        """
        with self._mutex:
            if self._sent_us is not None:
                return None
            now_us = self._now_us()
            batch = self._outbox.batch()
            self._sent_us, self.urgent = now_us, bool(self._outbox.probes)
            return calls.report(
                self.keys,
                self.node,
                batch.sequence,
                self._known_now(now_us),
                max(self.own.run, self._run_at_trip),
                self._votes(now_us),
                batch.items(self.rules.window_us, now_us),
                batch.probe,
                self.rules,
                self._drawn(),
                self.channel,
            )

    def reported(self, snapshot: Snapshot) -> None:
        """Its reply."""
        with self._mutex:
            self._outbox.answered()
            self._sent_us, now_us = None, self._now_us()
            self._next_us = now_us + self.policy.refresh_us
            self._answered(snapshot, now_us)
            if self._outbox.probes or self._outbox.failures >= self.policy.flush_failures:
                self._urge()
        self._tell()

    def failed(self, error: Exception | None) -> None:
        """There is none, and perhaps never will be: the same is sent again later."""
        with self._mutex:
            self._sent_us = None
            self._next_us = self._now_us() + self.policy.refresh_us
            self._lost(error)

    def probe(self) -> tuple[str, Call[Asked]]:
        """Ask for the permit that :meth:`enter` did not give. Followed by :meth:`probed` or :meth:`not_probed`."""
        token = secrets.token_hex(12)
        with self._mutex:
            known = self._known_now(self._now_us())
        return token, calls.probe(self.keys, self.node, token, known, self.rules, self._drawn(), self.channel)

    def probed(self, token: str, asked: Asked) -> Permit:
        """The reply to that; CircuitOpen where it is no."""
        with self._mutex:
            now_us = self._now_us()
            self._asking_until_us = 0
            self._answered(asked.snapshot, now_us)
            admitted, wait_us = asked.admission
            if asked.snapshot.state is BreakerState.HALF_OPEN:
                wait_us = self._soon(wait_us)
            self._ask_at_us = now_us + wait_us
            generation = asked.snapshot.generation
        self._tell()
        if not admitted:
            raise CircuitOpen(self.name, wait_us / MICRO)
        return Permit(generation, now_us, token, is_shared=True) if admitted == 1 else Permit(generation, now_us)

    def not_probed(self, token: str, error: Exception | None) -> None:
        """There is none: the permit, if it was given, is given back."""
        with self._mutex:
            self._asking_until_us = 0
            self._outbox.probes.append((token, None))
            self._lost(error)
            self._urge()

    def forcing(self, state: BreakerState, length_us: int, reason: str) -> Call[Snapshot]:
        """Change it by hand, for all. Followed by :meth:`told`."""
        return calls.force(self.keys, self.node, state, length_us, reason, self.channel)

    # What comes

    def put(self, message: str) -> None:
        """From the mailbox: a change, or '' to look. No more than noted: the mailbox is locked meanwhile."""
        self._inbox.append(message)
        self.wake()

    def look(self) -> None:
        """At what the mailbox left."""
        while self._inbox:
            message = self._inbox.popleft()
            with self._mutex:
                try:
                    self._adopt(calls.heard(message), self._now_us())
                except ValueError:  # '', or of a release that says it differently
                    self.urgent, self._next_us = True, 0
            self._tell()

    def told(self, snapshot: Snapshot) -> None:
        """The reply to a change by hand."""
        with self._mutex:
            self._answered(snapshot, self._now_us())
        self._tell()

    def end(self) -> None:
        """Nothing more will come: from now on it is alone."""
        self.is_over = self.is_gone = self.is_ready = True
        self._spread(None)

    def strand(self) -> None:
        """Nobody reports for it here."""
        self.is_ready = True
        if not self.is_gone:
            self.is_gone = True
            log.warning("breaker %r decides by itself: its hub is of another process or event loop", self.name)

    def _answered(self, snapshot: Snapshot, now_us: int) -> None:
        if self.is_gone:
            self.is_gone = False
            log.warning("breaker %r is shared again", self.name)
        self.is_ready = not self._inline
        self._adopt(snapshot, now_us)
        policy = snapshot.policy
        if policy is not None and policy not in (self.rules, self._seen_policy):
            self._seen_policy = policy
            message = "breaker %r has two policies: the present state is by (%s), this replica decides by (%s)"
            log.warning(message, self.name, policy, self.rules)

    def _lost(self, error: Exception | None) -> None:
        """None: it was cut short, and says nothing of the server."""
        if error is None:
            return
        self.is_ready = not self._inline
        if not self.is_gone:
            self.is_gone = True
            if not isinstance(error, HubClosed):
                log.warning("breaker %r decides by itself: %s", self.name, type(error).__name__)

    def _adopt(self, snapshot: Snapshot, now_us: int) -> None:
        known, own = snapshot.known, self.own
        if known.generation < self._known.generation:
            return
        is_newer = known.generation > self._known.generation
        is_first = not self._known.generation
        if is_first and self.has_diverged and own.state not in ADMITTING and known.state is BreakerState.CLOSED:
            self._urge()  # it opened before it had heard of any state: the next report, of this one, opens all
            is_newer = False
        elif is_newer or (self.has_diverged and known.state is not BreakerState.CLOSED):
            is_news = is_newer and not is_first and snapshot.reason != "restored"
            if is_news or own.state is not known.state:
                self._news.append(snapshot.transition(self.name))
            own.take(known, now_us)
            own.opens, self._permit = snapshot.opens, Permit(known.generation, 0)
            self._run_at_trip, self._ask_at_us = 0, now_us
        elif not self.has_diverged:
            own.set_end(known, now_us)
        if is_newer:
            self._outbox.void()
        self._known, self._known_until_us = known, now_us + known.remaining_us

    # What it knows

    @property
    def has_diverged(self) -> bool:
        """Whether its own circuit went its own way."""
        return self.own.generation != self._known.generation

    def _seems_gone(self, now_us: int) -> bool:
        return self.is_gone or (self._sent_us is not None and now_us - self._sent_us > ANSWER_US)

    def _known_now(self, now_us: int) -> Known:
        return self._known._replace(remaining_us=max(0, self._known_until_us - now_us))

    def _votes(self, now_us: int) -> bool:
        own = self.own
        is_open = self.has_diverged and own.state not in ADMITTING
        return is_open or own.finds_it_bad(self.rules, now_us)
