"""One user in a simulated run: an attempt, and its lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from riskscale._core.call import Call, Cleanup, Finish, Flow, Listen, Wait
from riskscale._core.mailbox import Slot
from riskscale.errors import LeaseLost
from riskscale.lease import flows
from riskscale.lease.grant import Grant
from riskscale.lock.calls import LockKeys
from riskscale.lock.spec import LockSpec
from tests.history.history import SECOND

if TYPE_CHECKING:
    from tests.history.simulated import Process

NAMES = ("a", "b")


class Flag:
    """Instead of an asyncio or threading event."""

    is_set = False

    def set(self) -> None:
        self.is_set = True

    def clear(self) -> None:
        self.is_set = False


class Task:
    """One attempt, and its lease: a driver of flows like the hubs."""

    def __init__(self, process: Process, number: int) -> None:
        self.process, self.simulation, self.number = process, process.simulation, number
        chance = self.simulation.random
        self.name, timeout = chance.choice(NAMES), chance.choice([None, None, 0, 0.2, 1.0])
        self.spec = LockSpec.of(self.name, LockKeys.of(self.name), self.simulation.ttl, None, True)
        self._event = Flag()
        self._slot, self._wait, self._waiting = Slot("", lambda: self._event), 0, False
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
                if self._slot.event.is_set:
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
