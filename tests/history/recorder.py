"""What a worker writes down: its journal, and clients that record every script they send and what it replied."""

from __future__ import annotations

import contextvars
import itertools
import json
import os
import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import riskscale
from riskscale._core.call import Call, text
from riskscale._core.scripts import names, script
from tests.history.history import SECOND

ATTEMPT: contextvars.ContextVar[int | None] = contextvars.ContextVar("attempt", default=None)
ATTEMPTS: dict[str, int | None] = {}
"""By token: what travels in one pipeline is sent in the context of the first who asked."""
SENDING: contextvars.ContextVar[tuple[Sending, ...]] = contextvars.ContextVar("sending", default=())
NAME_IN_KEY = re.compile(r"\{(.*)\}")
OPS = {"lock.acquire": "acquire", "lock.renew": "renew", "lock.release": "release"}
BY_SCRIPT = {key: name for name in names() for key in (script(name).sha, script(name).text)}


class Journal:
    """A file that a line is appended to by one write: whatever befalls this process, what is written stays."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._mutex = threading.Lock()
        self._numbers = itertools.count()
        self.latest = 0
        """The latest time of the server that this process knows of."""

    def say(self, e: str, **line: Any) -> None:
        """One line."""
        with self._mutex:
            os.write(self._file, json.dumps({"e": e, **line}).encode() + b"\n")
            if e in ("beat", "reply"):
                self.latest = max(self.latest, line["at"])

    def beat(self, time: Sequence[int]) -> None:
        """The reply of TIME."""
        self.say("beat", at=time[0] * SECOND + time[1])

    def number(self) -> int:
        """A new one."""
        return next(self._numbers)

    def close(self) -> None:
        """No more is written."""
        os.close(self._file)


class Sending:
    """One script that is sent, perhaps more than once."""

    def __init__(self, journal: Journal, op: str, words: Sequence[Any]) -> None:
        self._journal, self._op, self._number = journal, op, journal.number()
        self.tries = 1
        count = int(words[0])
        keys, args = words[1 : 1 + count], words[1 + count :]
        each = 3 if op in ("acquire", "release") else 1
        locks = [_name(key) for key in keys[::each]]
        self._count = len(locks)
        step, ttl_at = {"acquire": (3, 1), "renew": (2, 1), "release": (1, 0)}[op]
        of = [
            [name, args[step * item], 0 if op == "release" else args[step * item + ttl_at]]
            for item, name in enumerate(locks)
        ]
        box = args[2] if op == "acquire" else ""
        attempt = ATTEMPTS.get(args[0], ATTEMPT.get())
        journal.say("call", id=self._number, op=op, of=of, box=box, attempt=attempt)
        SENDING.set((self,))

    def replied(self, reply: Sequence[int]) -> None:
        """It has its reply."""
        if self._op == "renew":
            at, of = reply[0], [[fence] for fence in reply[1:]]
        else:
            at, of = reply[-1], [list(reply[:-1])]
        self._journal.say("reply", id=self._number, tries=self.tries, at=at, of=of)

    def failed(self, error: BaseException) -> None:
        """It will have none."""
        self._journal.say("error", id=self._number, tries=self.tries, error=type(error).__name__)


def _name(key: bytes | str) -> str:
    found = NAME_IN_KEY.search(text(key))
    assert found
    return found[1]


def _again() -> None:
    for sending in SENDING.get():
        sending.tries += 1


def backoff() -> ExponentialBackoff:
    """Between the tries of a client: soon, because faults are over soon."""
    return ExponentialBackoff(cap=0.2, base=0.01)


class CountingRetry(Retry):
    """Says when a script may be sent again."""

    def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:
        def failed(*details: Any) -> Any:
            _again()
            return fail(*details)

        return super().call_with_retry(do, failed, *args, **options)


class AsyncCountingRetry(AsyncRetry):
    """The same for asyncio."""

    async def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:
        def failed(*details: Any) -> Any:
            _again()
            return fail(*details)

        return await super().call_with_retry(do, failed, *args, **options)


class Recorded(redis.Redis):
    """A blocking client that writes its scripts into ``journal``."""

    journal: Journal

    def evalsha(self, sha: str, numkeys: int, *words: Any) -> Any:
        return self._record(sha, super().evalsha, numkeys, *words)

    def eval(self, script: Any, numkeys: int, *words: Any) -> Any:
        return self._record(script, super().eval, numkeys, *words)

    def _record(self, what: Any, send: Callable[..., Any], *words: Any) -> Any:
        op = OPS.get(BY_SCRIPT[what])
        if op is None:
            return send(what, *words)
        sending = Sending(self.journal, op, words)
        try:
            reply = send(what, *words)
        except BaseException as error:
            sending.failed(error)
            raise
        sending.replied(reply)
        return reply


class AsyncRecorded(redis.asyncio.Redis):
    """The same for asyncio."""

    journal: Journal

    async def evalsha(self, sha: str, numkeys: int, *words: Any) -> Any:
        return await self._record(sha, super().evalsha, numkeys, *words)

    async def eval(self, script: Any, numkeys: int, *words: Any) -> Any:
        return await self._record(script, super().eval, numkeys, *words)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> RecordedPipeline:
        pipeline = RecordedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.journal = self.journal
        return pipeline

    async def _record(self, what: Any, send: Callable[..., Awaitable[Any]], *words: Any) -> Any:
        op = OPS.get(BY_SCRIPT[what])
        if op is None:
            return await send(what, *words)
        sending = Sending(self.journal, op, words)
        try:
            reply = await send(what, *words)
        except BaseException as error:
            sending.failed(error)
            raise
        sending.replied(reply)
        return reply


class RecordedPipeline(redis.asyncio.client.Pipeline):
    """What travels together."""

    journal: Journal

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        sent = [self._sending(*args) for args, _ in self.command_stack]
        SENDING.set(tuple(filter(None, sent)))
        try:
            replies: list[Any] = await super().execute(raise_on_error)
        except BaseException as error:
            for sending in filter(None, sent):
                sending.failed(error)
            raise
        for each, reply in zip(sent, replies, strict=True):
            if isinstance(each, Sending):
                each.failed(reply) if isinstance(reply, Exception) else each.replied(reply)
        return replies

    def _sending(self, _: str, what: Any, *words: Any) -> Sending | None:
        op = OPS.get(BY_SCRIPT.get(what, ""))
        return Sending(self.journal, op, words) if op else None


def remember_attempts(hub: riskscale.Hub) -> None:
    """Whose token it is, while that can be seen."""
    soon = hub._sender.soon

    def remembered(call: Call[Any], *rest: Any) -> Any:
        if call.script == "lock.acquire":
            ATTEMPTS.setdefault(str(call.args[0]), ATTEMPT.get())
        return soon(call, *rest)

    hub._sender.soon = remembered  # type: ignore[method-assign]
