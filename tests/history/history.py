"""What a run left in its journals, put together: calls, attempts and faults, each between two stamps of the server.

A journal is a list of lines that one process wrote, in order; ``e`` says which kind a line is.

=============  ==========================================================================================
``beat``       ``at``: the server's time; the next one is asked for when this one is written
``call``       ``id op of box attempt``: a script is about to be sent, for each ``[name, token, ttl_us]`` of ``of``
``reply``      ``id tries at of``: what it replied, for each; ``tries``: how often the client may have sent it
``error``      ``id tries error``: it has no reply, and what was sent may be carried out at any time since, or never
``begin``      ``attempt name timeout``: a lock is asked for; ``timeout``: seconds, None: for ever
``end``        ``attempt how``: ``held``, ``none``, ``cancelled``, or the name of an error
``held``       ``name token fence at``: the lease as its holder has it
``believes``   ``name token fence since``: it was held by its holder's own reckoning, after the server's time ``since``
``released``   ``name token fence at``: its release as its holder has it
``fault``      ``kind worker box``: kill; stop, cont; stall, flow; reset (of ``box``'s subscription, if any); flush
``box``        ``worker box``: a subscription was seen to be asked for
=============  ==========================================================================================

Times are integers, in microseconds of the server's clock. What has no stamp lies between those around it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]
NEVER = 1 << 62
SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """Not before ``lo``, not after ``hi``."""

    lo: int
    hi: int


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One script on one lock. ``sent`` is not later than its sending, ``done`` not earlier than its outcome's arrival.

    Without a reply, or sent more than once, it may have been carried out at any time since ``sent``, or never.
    """

    worker: str
    op: str
    name: str
    token: str
    ttl: int = 0
    box: str = ""
    attempt: int | None = None
    sent: int = 0
    done: int = NEVER
    at: int | None = None
    reply: Sequence[int] = ()
    tries: int = 1
    error: str = ""

    @property
    def sure(self) -> bool:
        """Whether it was carried out once, when its reply says."""
        return self.at is not None and self.tries == 1

    @property
    def void(self) -> bool:
        """Whether it was certainly not carried out."""
        return self.error == "NoScriptError" and self.tries == 1

    @property
    def fence(self) -> int:
        """The fence that it shows to be held, 0 if it shows none."""
        if self.at is None or self.op == "release":
            return 0
        return max(0, self.reply[0]) if self.op == "renew" else self.reply[0] * self.reply[1]

    @property
    def queued(self) -> bool:
        """Whether it shows a place in the queue."""
        return self.op == "acquire" and self.at is not None and self.reply[0] == 0 and self.reply[3] >= 0

    @property
    def refused(self) -> bool:
        """Whether it shows that the lock is not held."""
        return self.at is not None and self.reply[0] == 0


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One acquire() of a user."""

    worker: str
    number: int
    name: str
    timeout: float | None
    begun: Moment
    ended: Moment | None = None
    how: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """``held``, ``believes`` or ``released``, as a holder has it."""

    what: str
    worker: str
    name: str
    token: str
    fence: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something done to a worker (to all: '')."""

    kind: str
    worker: str
    box: str
    when: Moment


@dataclass(slots=True)
class Worker:
    """One process."""

    name: str
    beats: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A key that is there after everything ended: its life in ms (-1: for ever), whose tokens it names."""

    key: str
    life_ms: int
    tokens: tuple[str, ...] = ()
    holder: str = ""


@dataclass(slots=True, kw_only=True)
class History:
    """A run. ``stall``: the longest time for which its machine slept."""

    workers: dict[str, Worker]
    faults: list[Fault]
    left: list[Left] = field(default_factory=list)
    stall: int = 0

    def calls(self) -> dict[str, list[Call]]:
        """All of them by the name of the lock."""
        found: dict[str, list[Call]] = {}
        for worker in self.workers.values():
            for call in worker.calls:
                found.setdefault(call.name, []).append(call)
        return found

    def attempts(self) -> list[Attempt]:
        """All of them."""
        return [attempt for worker in self.workers.values() for attempt in worker.attempts]


def gather(
    journals: Mapping[str, Sequence[Line]], faults: Sequence[Line], *, left: Iterable[Left] = (), stall: int = 0
) -> History:
    """Put the journals of workers, by their names, and the journal of what was done to them, together."""
    workers = {name: _worker(name, lines) for name, lines in journals.items()}
    when = _Moments(faults)
    done = [
        Fault(kind=line.get("kind", "box"), worker=line["worker"], box=line.get("box") or "", when=when[position])
        for position, line in enumerate(faults)
        if line["e"] in ("fault", "box")
    ]
    return History(workers=workers, faults=done, left=list(left), stall=stall)


class _Moments:
    """When each line of a journal was written."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lo: list[int] = []
        latest = 0
        for line in lines:
            if line["e"] in ("beat", "reply"):
                latest = max(latest, line["at"])
            self._lo.append(latest)
        beats = [(position, line["at"]) for position, line in enumerate(lines) if line["e"] == "beat"]
        self._positions = [position for position, _ in beats]
        self._beats = [at for _, at in beats]

    def __getitem__(self, position: int) -> Moment:
        # The next beat may have been asked for before; the one after it was not.
        after = bisect_left(self._positions, position) + 1
        return Moment(self._lo[position], self._beats[after] if after < len(self._beats) else NEVER)


def _worker(name: str, lines: Sequence[Line]) -> Worker:
    worker, when = Worker(name), _Moments(lines)
    calls: dict[int, list[Call]] = {}
    attempts: dict[int, Attempt] = {}
    for position, line in enumerate(lines):
        match line["e"]:
            case "beat":
                worker.beats.append(line["at"])
            case "call":
                calls[line["id"]] = _calls(name, line, when[position].lo)
                worker.calls += calls[line["id"]]
            case "reply" | "error":
                _settle(calls[line["id"]], line, when[position].hi)
            case "begin":
                attempts[line["attempt"]] = Attempt(
                    worker=name,
                    number=line["attempt"],
                    name=line["name"],
                    timeout=line["timeout"],
                    begun=when[position],
                )
            case "end":
                attempts[line["attempt"]].ended, attempts[line["attempt"]].how = when[position], line["how"]
            case "held" | "released" | "believes" as what:
                at = line["since"] if what == "believes" else line["at"]
                worker.said.append(
                    Said(what=what, worker=name, name=line["name"], token=line["token"], fence=line["fence"], at=at)
                )
    for call in worker.calls:
        if call.op == "acquire" and call.attempt in attempts:
            attempts[call.attempt].token = call.token
    worker.attempts = list(attempts.values())
    return worker


def _calls(worker: str, line: Line, sent: int) -> list[Call]:
    return [
        Call(
            worker=worker,
            op=line["op"],
            name=name,
            token=token,
            ttl=ttl,
            box=line.get("box") or "",
            attempt=line.get("attempt"),
            sent=sent,
        )
        for name, token, ttl in line["of"]
    ]


def _settle(calls: Sequence[Call], line: Line, done: int) -> None:
    for number, call in enumerate(calls):
        call.tries, call.done, call.error = line["tries"], done, line.get("error", "")
        if line["e"] == "reply":
            call.at, call.reply = line["at"], line["of"][number]
