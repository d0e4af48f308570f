"""Histories made by hand, in milliseconds: a call is answered half a millisecond after it was sent."""

from __future__ import annotations

import itertools
from typing import Any

from tests.history.checker import check
from tests.history.history import History, Left, gather

MS = 1000
NAME = "job"


class Story:
    """Processes, what they did, and what was done to them, until ``end``."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._processes: dict[str, Process] = {}
        self._faults: list[tuple[int, dict[str, Any]]] = []
        self.left: list[Left] = []

    def __getitem__(self, name: str) -> Process:
        return self._processes.setdefault(name, Process())

    def fault(self, at: int, kind: str, worker: str, box: str = "") -> None:
        """Something is done to a process."""
        e = {"e": "box"} if kind == "box" else {"e": "fault", "kind": kind}
        self._faults.append((at * MS, {**e, "worker": worker, "box": box}))

    def told(self) -> History:
        """The whole."""
        beats = [(at * MS, {"e": "beat", "at": at * MS}) for at in range(0, self.end, 20)]
        journals = {
            name: _in_order(process.lines + [beat for beat in beats if not process.silent(beat[0])])
            for name, process in self._processes.items()
        }
        return gather(journals, _in_order(self._faults + beats), left=self.left, stall=20 * MS)


def _in_order(lines: list[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [line for _, line in sorted(lines, key=lambda each: each[0])]


class Process:
    """One journal."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, Any]]] = []
        self._numbers = itertools.count()
        self._silences: list[tuple[int, int]] = []

    def silence(self, begin: int, end: int) -> None:
        """No beats meanwhile."""
        self._silences.append((begin * MS, end * MS))

    def silent(self, at: int) -> bool:
        return any(begin < at < end for begin, end in self._silences)

    def call(self, at: int, op: str, token: str, reply: list[int] | None, **more: Any) -> None:
        """``reply``: without its time; None: none came."""
        number, tries, ttl = next(self._numbers), more.pop("tries", 1), more.pop("ttl", 1000) * MS
        sent = more.pop("sent", at) * MS - 250
        of = [[NAME, token, 0 if op == "release" else ttl]]
        self.lines.append((sent, {"e": "call", "id": number, "op": op, "of": of, **more}))
        outcome = {"e": "error", "error": "ConnectionError"} if reply is None else {"e": "reply", "at": at * MS}
        self.lines.append((at * MS + 250, {**outcome, "id": number, "tries": tries, "of": [reply]}))

    def take(self, at: int, token: str, fence: int = 0, **more: Any) -> None:
        """It is had: now, or it was granted at ``fence``."""
        self.call(at, "acquire", token, [1, (fence or at) * MS, 0, -1], **more)

    def queue(self, at: int, token: str, rank: int = 0, wait: int = 10_000, **more: Any) -> None:
        """It is not."""
        self.call(at, "acquire", token, [0, 1, wait * MS, rank], **more)

    def renew(self, at: int, token: str, fence: int, **more: Any) -> None:
        """``fence`` 0: it is lost."""
        self.call(at, "renew", token, [fence * MS], **more)

    def release(self, at: int, token: str, released: int = 1, **more: Any) -> None:
        """Let go."""
        self.call(at, "release", token, [released], **more)

    def unanswered(self, at: int, op: str, token: str, **more: Any) -> None:
        """Sent, and no more is known."""
        self.call(at, op, token, None, **more)

    def say(self, when: int, e: str, **line: Any) -> None:
        """Any other line."""
        self.lines.append((when * MS, {"e": e, **line}))

    def attempt(
        self, begin: int, end: int | None, how: str = "", timeout: float | None = None, number: int = 0
    ) -> None:
        """One acquire()."""
        self.say(begin, "begin", attempt=number, name=NAME, timeout=timeout)
        if end is not None:
            self.say(end, "end", attempt=number, how=how)


def kinds(story: Story) -> list[str]:
    """What the checker finds."""
    return [violation.kind for violation in check(story.told()).violations]
