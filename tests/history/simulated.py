"""A run without a server, a socket or a clock: the library's own flows and its model of the lock, in virtual time.

It writes the journals that a real run writes. A model with a flaw gives journals in which the checker must find it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from riskscale.lock._model import LockModel
from tests.history.history import SECOND, History, Left, gather
from tests.history.simulated_task import NAMES, Task

START = 1_750_000_000 * SECOND
BEAT = SECOND // 20


class Hub:
    """What flows ask of a hub."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic

    def slot_of(self, key: bytes) -> int:
        return 0


class Simulation:
    """``processes`` with a mailbox and ``tasks`` each, ``span`` seconds; then they end what they began."""

    def __init__(
        self,
        seed: object,
        model: Callable[..., LockModel] = LockModel,
        *,
        processes: int = 4,
        tasks: int = 2,
        span: float = 4.0,
        faults: bool = True,
        ttl: float = 0.5,
        hold: float = 0.03,
    ) -> None:
        self.random = random.Random(str(seed))
        self.now, self.ttl, self.hold = START, ttl, hold
        self.until = START + round(span * SECOND)
        self.locks = {name: model(publish=self.publish) for name in NAMES}
        self.journal: list[dict[str, Any]] = []
        self.hub = Hub(lambda: (self.now - START) / SECOND)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.processes = [Process(self, f"p{number}") for number in range(processes)]
        for process in self.processes:
            process.beat()
            for _ in range(tasks):
                self.at(self.later(0.2), process.round)
        self.at(self.now, self._beat)
        if faults:
            self.at(self.later(1.0), self._fault)

    def run(self) -> History:
        """To the end of everything."""
        limit = self.until + 120 * SECOND
        while self._events and self.now < limit:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.history()

    def history(self) -> History:
        journals = {process.name: process.journal for process in self.processes}
        return gather(journals, self.journal, left=self._left(), stall=BEAT)

    def _left(self) -> Iterator[Left]:
        for name, lock in self.locks.items():
            held = lock.owner if lock.is_live(self.now + 2 * round(self.ttl * SECOND)) else ""
            yield Left(key=f"{name}:lock", life_ms=60_000, holder=held)
            yield Left(key=f"{name}:queue", life_ms=90_000, tokens=tuple(lock.queue))

    def at(self, when: int, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def later(self, mean: float) -> int:
        """A time that is some while from now."""
        return self.now + 50 + round(self.random.expovariate(1 / mean) * SECOND)

    def publish(self, mailbox: str, message: str) -> bool:
        process = next((each for each in self.processes if each.box == mailbox), None)
        if process is None or process.dead:
            return False
        self.at(self.later(0.0005), lambda: process.hear(message))
        return True

    @property
    def busy(self) -> bool:
        return self.now < self.until or any(process.busy and not process.dead for process in self.processes)

    def _beat(self) -> None:
        self.journal.append({"e": "beat", "at": self.now})
        if self.busy:
            self.at(self.now + BEAT // 2, self._beat)

    def _fault(self) -> None:
        if self.now < self.until:
            process = self.random.choice(self.processes)
            if not process.dead and not process.stopped:
                process.stop() if self.random.random() < 0.7 else process.kill()
            self.at(self.later(1.0), self._fault)


class Process:
    """One with a mailbox; everything of it waits while it is stopped."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation, self.name = simulation, name
        self.journal: list[dict[str, Any]] = []
        self.box = ""
        self.dead = self.stopped = False
        self.busy = 0
        self.latest = 0
        self._late: list[Callable[[], None]] = []
        self._numbers = itertools.count()
        self._tasks: dict[str, Task] = {}

    def say(self, e: str, **line: Any) -> None:
        self.journal.append({"e": e, **line})

    def do(self, event: Callable[[], None]) -> None:
        if self.stopped:
            self._late.append(event)
        elif not self.dead:
            event()

    def beat(self) -> None:
        self.latest = self.simulation.now
        self.say("beat", at=self.latest)
        if self.simulation.busy or self.simulation.now < self.simulation.until + SECOND:
            self.simulation.at(self.simulation.now + BEAT, lambda: self.do(self.beat))

    def hear(self, message: str) -> None:
        token, _, rest = message.partition(" ")
        self.do(lambda: self._tasks[token].hear(rest) if token in self._tasks else None)

    def subscribe(self) -> None:
        """In a while: then all look."""

        def subscribed() -> None:
            self.box = f"box.{self.name}"
            for task in list(self._tasks.values()):
                task.hear("")

        if not self.box:
            self.simulation.at(self.simulation.later(0.005), lambda: self.do(subscribed))

    def fault(self, kind: str) -> None:
        self.simulation.journal.append({"e": "fault", "kind": kind, "worker": self.name, "box": ""})

    def kill(self) -> None:
        self.fault("kill")
        self.dead = True

    def stop(self) -> None:
        self.fault("stop")
        self.stopped = True
        self.simulation.at(self.simulation.later(1.0) + SECOND // 2, self.cont)

    def cont(self) -> None:
        self.stopped = False
        late, self._late = self._late, []
        for event in late:
            self.do(event)
        self.fault("cont")

    def round(self) -> None:
        if self.simulation.now < self.simulation.until:
            Task(self, next(self._numbers))

    def listen(self, token: str, task: Task) -> None:
        self._tasks[token] = task

    def forget(self, task: Task) -> None:
        self._tasks = {token: each for token, each in self._tasks.items() if each is not task}
