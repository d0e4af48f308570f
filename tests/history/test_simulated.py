"""Any history of a correct lock passes; one of a lock with a flaw, once it showed, does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from riskscale.lock._model import Acquired, LockModel
from tests.history.checker import check
from tests.history.simulated import Simulation

SEEDS = st.integers(0, 10**9)


@given(seed=SEEDS, processes=st.integers(1, 6), tasks=st.integers(1, 3), ttl=st.sampled_from([0.1, 0.5, 2.0]))
def test_a_correct_lock_passes(seed: int, processes: int, tasks: int, ttl: float) -> None:
    history = Simulation(seed, processes=processes, tasks=tasks, ttl=ttl).run()
    assert check(history).violations == []


class Flawed(LockModel):
    """Does it wrong once in a while; ``shown`` counts how often it mattered."""

    enough = 3
    shown = 0
    calls = 0

    def wrong(self) -> bool:
        self.calls += 1
        return self.calls % 7 == 0

    def show(self) -> None:
        type(self).shown += 1


class Overlapping(Flawed):
    """Gives away what is held."""

    def acquire(self, owner: str, ttl_us: int, mailbox: str, now_us: int, hold: str = "") -> Acquired:
        if self.wrong() and self.is_live(now_us) and self.claimed and self.owner != owner:
            self.show()
            self.queue.clear()
            self.end_us = now_us
        return super().acquire(owner, ttl_us, mailbox, now_us, hold)


class Falling(Flawed):
    """Gives a fence twice."""

    def _grant(self, owner: str, ttl_us: int, claimed: bool, now_us: int) -> None:
        last = self.fence
        super()._grant(owner, ttl_us, claimed, now_us)
        if last and self.wrong():
            self.show()
            self.fence = last


class Barging(Flawed):
    """Serves a newcomer before those who wait."""

    def _hand_over(self, me: str, now_us: int) -> str | None:
        if me and me not in self.queue and self.queue:
            self.show()
            return None
        return super()._hand_over(me, now_us)

    def release(self, owner: str, now_us: int, hold: str = "") -> Any:
        # Free for a moment: nobody is told, so a newcomer finds it.
        waiting, self.queue = self.queue, {} if self.owner == owner and self.wrong() else self.queue
        released = super().release(owner, now_us, hold)
        self.queue = {**waiting, **self.queue} if waiting is not self.queue else self.queue
        return released


class Stuck(Flawed):
    """Is given to nobody for a minute."""

    enough = 1

    def _hand_over(self, me: str, now_us: int) -> str | None:
        if self.queue and self.wrong():
            self.show()
            self._grant("nobody", 60_000_000, True, now_us)
            return "nobody"
        return super()._hand_over(me, now_us)


class Forgetful(Flawed):
    """Does not keep the place of a waiter that calls again; it shows when another gets the lock before it."""

    enough = 2

    def acquire(self, owner: str, ttl_us: int, mailbox: str, now_us: int, hold: str = "") -> Acquired:
        self.arrived = {owner: now_us, **getattr(self, "arrived", {})}
        if owner in self.queue and self.is_live(now_us) and self.owner != owner:
            del self.queue[owner]
        return super().acquire(owner, ttl_us, mailbox, now_us, hold)

    def _grant(self, owner: str, ttl_us: int, claimed: bool, now_us: int) -> None:
        super()._grant(owner, ttl_us, claimed, now_us)
        if any(self.arrived[token] < self.arrived[owner] for token in self.queue):
            self.show()


FOUND: dict[type[Flawed], set[str]] = {
    Overlapping: {"overlap"},
    Falling: {"fence"},
    Barging: {"barged"},
    Stuck: {"starved", "idle"},
    Forgetful: {"barged"},
}


@pytest.mark.parametrize("flawed", FOUND)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_flaw_is_found(flawed: type[Flawed], seed: int) -> None:
    flawed.shown = 0
    history = Simulation(seed, flawed, faults=False, span=20.0, tasks=3, hold=0.2).run()
    assume(flawed.shown >= flawed.enough)
    found = {violation.kind for violation in check(history).violations}
    assert FOUND[flawed] <= found
