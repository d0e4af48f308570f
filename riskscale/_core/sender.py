"""How calls reach the server: each by itself, or those of one turn of the event loop together, in one pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from riskscale._core.base import first_error, is_noscript, own, raise_translated, sent_with_wait
from riskscale._core.call import Call
from riskscale._core.scripts import script
from riskscale.errors import HubClosed

T = TypeVar("T")
Words: TypeAlias = tuple[Any, ...]
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
Replicas: TypeAlias = tuple[int, float]
Asked: TypeAlias = tuple[Call[Any], Words, "asyncio.Future[Any]"]

MOST = 32
"""Calls of one pipeline: the server does nothing else meanwhile."""


class Sender:
    """The calls of one hub. ``timeout`` is the seconds that one may take, waiting for its turn included."""

    def __init__(self, client: Any, is_cluster: bool, max_in_flight: int, timeout: float | None, spawn: Spawn) -> None:
        self._client, self._timeout, self._spawn = client, timeout, spawn
        self._slots = asyncio.Semaphore(max_in_flight)
        # A cluster's pipeline is none: its client sends what is for one node after what is for another.
        self._most = MOST if not is_cluster and callable(getattr(client, "pipeline", None)) else 1
        self._asked: list[Asked] = []
        self._carrier: asyncio.Task[None] | None = None

    async def ping(self) -> None:
        """PING, in its turn."""
        await self._in_turn(self._client.ping)

    async def now(self, call: Call[T], words: Words) -> T:
        """The result of a call that leaves at once, alone and cut short with its caller; or with others that are about
        to leave."""
        if self._carrier is not None:
            return await self.soon(call, words)[0]
        return call.decode(await self._in_turn(partial(self._one, call, words)))

    def soon(
        self, call: Call[T], words: Words, replicas: Replicas | None = None
    ) -> tuple[asyncio.Future[T], asyncio.Task[None]]:
        """At the next turn of the loop, with all that are asked for until then: the result, and the task that brings
        it. That one goes on when nobody waits for the result any more.

        With ``replicas`` the call travels alone, a WAIT behind it, and the result is what it gave and how many replicas
        have it.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if replicas is not None:
            return answer, self._start([(call, words, answer)], replicas)
        if self._carrier is None:
            self._asked = []
            self._carrier = self._start(self._asked)
        carrier = self._carrier
        self._asked.append((call, words, answer))
        if len(self._asked) == self._most:
            self._carrier = None
        return answer, carrier

    def _start(self, asked: list[Asked], replicas: Replicas | None = None) -> asyncio.Task[None]:
        carrier = self._spawn(self._carry(asked, replicas))
        carrier.add_done_callback(partial(_left, asked))
        return carrier

    async def _carry(self, asked: list[Asked], replicas: Replicas | None) -> None:
        if self._asked is asked:  # who comes from now on travels with the next
            self._carrier = None
        try:
            replies = await self._in_turn(partial(self._sent, asked, replicas))
        except Exception as error:
            replies = [error] if len(asked) == 1 else [own(error) for _ in asked]
        for (call, _, answer), reply in zip(asked, replies, strict=True):
            _tell(answer, call, reply, replicas)

    async def _sent(self, asked: list[Asked], replicas: Replicas | None) -> list[Any]:
        call, words, _ = asked[0]
        if replicas is not None:
            return [await self._one_and_wait(call, words, replicas)]
        return [await self._one(call, words)] if len(asked) == 1 else await self._together(asked)

    async def _in_turn(self, send: Callable[[], Awaitable[T]]) -> T:
        if self._timeout is None:
            async with self._slots:
                return await send()
        async with asyncio.timeout(self._timeout), self._slots:
            return await send()

    async def _one(self, call: Call[Any], words: Words) -> Any:
        """The reply, if need be to the script's text; a script's errors as ours."""
        each = script(call.script)
        try:
            try:
                return await self._client.evalsha(each.sha, *words)
            except Exception as error:
                if not is_noscript(error):
                    raise
            return await self._client.eval(each.text, *words)
        except Exception as error:
            raise_translated(error)

    async def _one_and_wait(self, call: Call[Any], words: Words, replicas: Replicas) -> list[Any]:
        by_digest, by_text = _heads(call)
        try:
            return await self._waited((*by_digest, *words), replicas)
        except Exception as error:
            if not is_noscript(error):
                raise
        return await self._waited((*by_text, *words), replicas)

    async def _waited(self, words: Words, replicas: Replicas) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            return first_error(await sent_with_wait(pipeline, words, replicas))

    async def _together(self, asked: Sequence[Asked]) -> list[Any]:
        """The reply to each, or its error."""
        replies = await self._piped([(*_heads(call)[0], *words) for call, words, _ in asked])
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, Exception) and is_noscript(reply)]
        if unknown:
            try:
                again = await self._piped([(*_heads(asked[at][0])[1], *asked[at][1]) for at in unknown])
            except Exception as error:  # those that were answered have their answer
                again = [own(error) for _ in unknown]
            for at, reply in zip(unknown, again, strict=True):
                replies[at] = reply
        return replies

    async def _piped(self, commands: Sequence[Words]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        return list(await pipeline.execute(raise_on_error=False))  # and it has given back its connection


def _heads(call: Call[Any]) -> tuple[tuple[str, str], tuple[str, bytes]]:
    """What comes before the words: by the script's digest, and by its text where the server does not know that."""
    each = script(call.script)
    return ("EVALSHA", each.sha), ("EVAL", each.text)


def _tell(answer: asyncio.Future[Any], call: Call[Any], reply: Any, replicas: Replicas | None) -> None:
    """Read the reply, also where nobody waits any more: whoever cleans up asks the call what became of it."""
    try:
        if isinstance(reply, Exception):
            raise_translated(reply)
        result = call.decode(reply) if replicas is None else (call.decode(reply[0]), reply[1])
    except Exception as error:
        if not answer.done():
            answer.set_exception(error)
    else:
        if not answer.done():
            answer.set_result(result)


def _left(asked: Sequence[Asked], _: asyncio.Task[None]) -> None:
    """The carrier was cancelled, perhaps before its first step: the hub has closed."""
    for _call, _words, answer in asked:
        if not answer.done():
            answer.set_exception(HubClosed())
