"""A run without a server, a socket or a clock: the library's own flows and its model of the lock, in virtual time.

It writes the journals that a real run writes. A model with a flaw gives journals in which the checker must find it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from riskscale._core.call import Call, Cleanup, Finish, Flow, Listen, Wait
from riskscale._core.mailbox import Slot
from riskscale.errors import LeaseLost
from riskscale.lease import flows
from riskscale.lease.grant import Grant
from riskscale.lock._model import LockModel
from riskscale.lock.spec import LockSpec
from tests.history.history import SECOND, History, Left, gather

START = 1_750_000_000 * SECOND
BEAT = SECOND // 20
NAMES = ("a", "b")


class Flag:
    """Instead of an asyncio or threading event."""

    is_set = False

    def set(self) -> None:
        self.is_set = True

    def clear(self) -> None:
        self.is_set = False


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


class Task:
    """One attempt, and its lease: a driver of flows like the hubs."""

    def __init__(self, process: Process, number: int) -> None:
        self.process, self.simulation, self.number = process, process.simulation, number
        chance = self.simulation.random
        self.name, timeout = chance.choice(NAMES), chance.choice([None, None, 0, 0.2, 1.0])
        self.spec = LockSpec.of(self.name, self.name, self.simulation.ttl, None, True)
        self._event = Flag()
        self._slot, self._wait, self._waiting = Slot("", self._event), 0, False
        process.busy += 1
        process.say("begin", attempt=number, name=self.name, timeout=timeout)
        monotonic = self.simulation.hub.monotonic
        self._start(flows.acquire(self.spec, timeout, monotonic, lambda grant: grant), self._acquired)

    def _start(self, flow: Flow[Any], then: Callable[[Any], None]) -> None:
        self._flow, self._then = flow, then
        self._step(None)

    def _step(self, value: Any) -> None:
        self._waiting = False
        try:
            step = self._flow.send(value)
        except StopIteration as end:
            self._then(end.value)
            return
        except LeaseLost:
            self._then(None)
            return
        match step:
            case Listen():
                self._slot.token = step.token
                self.process.listen(step.token, self)
                self._step(self.process.box)
            case Wait():
                self.process.subscribe()
                self._wait += 1
                self._waiting, number = True, self._wait
                when = self.simulation.now + round(step.seconds * SECOND)
                self.simulation.at(when, lambda: self.process.do(lambda: self._look(number)))
                if self._event.is_set:
                    self._look(number)
            case Call() | Finish() | Cleanup():
                self._send(step if isinstance(step, Call) else step.call)

    def hear(self, message: str) -> None:
        self._slot.put(message)
        self._look(self._wait)

    def _look(self, number: int) -> None:
        if number == self._wait and self._waiting:
            self._step(self._slot.take())

    def _send(self, call: Call[Any]) -> None:
        op, number = call.script.partition(".")[2], next(self.process._numbers)
        token, ttl = str(call.args[0]), int(call.args[1] or 0)
        box = str(call.args[2]) if op == "acquire" else ""
        self.process.say("call", id=number, op=op, of=[[self.name, token, ttl]], box=box, attempt=self.number)
        self.simulation.at(self.simulation.later(0.0005), lambda: self._carry_out(call, op, number, (token, ttl, box)))

    def _carry_out(self, call: Call[Any], op: str, number: int, words: tuple[str, int, str]) -> None:
        lock, now = self.simulation.locks[self.name], self.simulation.now
        token, ttl, box = words
        if op == "acquire":
            of = [int(each) for each in lock.acquire(token, ttl, box, now)]
            reply = [*of, now]
        elif op == "renew":
            of = [lock.renew(token, ttl, now)]
            reply = [now, *of]
        else:
            of = [int(each) for each in lock.release(token, now)]
            reply = [*of, now]

        def arrive() -> None:
            self.process.say("reply", id=number, tries=1, at=now, of=[of])
            self._step(call.decode(reply))

        self.simulation.at(self.simulation.later(0.0005), lambda: self.process.do(arrive))

    def _acquired(self, grant: Grant | None) -> None:
        self.process.say("end", attempt=self.number, how="held" if grant else "none")
        if grant is None:
            self._done(None)
            return
        self.grant = grant
        self._say("held", at=round(grant.at * SECOND))
        self._hold()

    def _say(self, what: str, **line: int) -> None:
        self.process.say(what, name=self.name, token=self.grant.token, fence=self.grant.fence, **line)

    def _hold(self) -> None:
        self.simulation.at(self.simulation.later(self.simulation.hold), lambda: self.process.do(self._held))

    def _held(self) -> None:
        since = self.process.latest
        if self.grant.deadline > self.simulation.hub.monotonic():
            self._say("believes", since=since)
        if self.simulation.random.random() < 0.4:
            self._start(flows.renew([self.grant], None, self.simulation.hub), lambda _: self._hold())  # type: ignore[arg-type]
        else:
            self._start(flows.release([self.grant]), self._released)

    def _released(self, _: None) -> None:
        if self.grant.released_at is not None:
            self._say("released", at=round(self.grant.released_at * SECOND))
        self._done(None)

    def _done(self, _: None) -> None:
        self.process.forget(self)
        self.process.busy -= 1
        self.simulation.at(self.simulation.later(0.05), lambda: self.process.do(self.process.round))
