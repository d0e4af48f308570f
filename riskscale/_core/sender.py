"""How calls reach the server: each by itself, or those of one turn of the event loop together, in one pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from riskscale._core.answers import fail_all
from riskscale._core.base import first_error, is_noscript, raise_translated, sent_with_wait
from riskscale._core.call import Call
from riskscale._core.scripts import script
from riskscale.errors import HubClosed

T = TypeVar("T")
Words: TypeAlias = tuple[Any, ...]
Replicas: TypeAlias = tuple[int, float]
Carrier: TypeAlias = "asyncio.Task[None]"

MOST = 32
"""Calls of one pipeline: the server does nothing else meanwhile."""


class Spawn(Protocol):
    """How the hub makes a task that it waits for when it closes."""

    def __call__(self, work: Coroutine[Any, Any, None], /) -> Carrier: ...


class Ask:
    """One call, and who waits for its result. One that may ``be_left`` is not sent when nobody waits any more."""

    __slots__ = ("answer", "call", "may_be_left", "replicas", "words")

    def __init__(self, call: Call[Any], words: Words, replicas: Replicas | None = None, *, may_be_left: bool) -> None:
        self.call, self.words, self.replicas, self.may_be_left = call, words, replicas, may_be_left
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def is_left(self) -> bool:
        """Whether nobody would miss it."""
        return self.may_be_left and self.answer.done()

    def tell(self, reply: Any) -> None:
        """Read the reply, also where nobody waits any more: whoever cleans up asks the call what became of it."""
        try:
            if isinstance(reply, Exception):
                raise_translated(reply)
            decode = self.call.decode
            result = decode(reply) if self.replicas is None else (decode(reply[0]), reply[1])
        except Exception as error:
            self.fail(error)
        else:
            if not self.answer.done():
                self.answer.set_result(result)

    def fail(self, error: Exception) -> None:
        """Tell whoever still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Sender:
    """The calls of one hub. ``timeout`` is the seconds that one may take, waiting for its turn included."""

    def __init__(self, client: Any, is_cluster: bool, max_in_flight: int, timeout: float | None) -> None:
        self._client, self._timeout = client, timeout
        self._slots = asyncio.Semaphore(max_in_flight)
        # A cluster's pipeline is none: its client sends what is for one node after what is for another.
        self._most = MOST if not is_cluster and callable(getattr(client, "pipeline", None)) else 1
        self._asks: list[Ask] = []
        """Those that are about to leave, by this carrier."""
        self._carrier: Carrier | None = None

    async def ping(self) -> None:
        """PING, in its turn."""
        await self._in_turn(self._client.ping)

    async def now(self, call: Call[T], words: Words, spawn: Spawn) -> T:
        """The result of a call that leaves at once, alone and cut short with its caller; or with others that are about
        to leave, unless its caller gives up before."""
        if self._carrier is None:
            return call.decode(await self._in_turn(partial(self._one, call, words)))
        ask = Ask(call, words, may_be_left=True)
        self._board(ask, spawn)
        result: T = await ask.answer
        return result

    def soon(
        self, call: Call[T], words: Words, spawn: Spawn, replicas: Replicas | None = None
    ) -> tuple[asyncio.Future[T], Carrier]:
        """At the next turn of the loop, with all that are asked for until then: the result, and the task that brings
        it. That one goes on when nobody waits for the result any more.

        With ``replicas`` the call travels alone, a WAIT behind it, and the result is what it gave and how many replicas
        have it.
        """
        ask = Ask(call, words, replicas, may_be_left=False)
        return ask.answer, self._board(ask, spawn) if replicas is None else self._start([ask], spawn)

    def _board(self, ask: Ask, spawn: Spawn) -> Carrier:
        carrier = self._carrier
        if carrier is None or carrier.cancelling():  # one that is cancelled before its first step never takes it
            asks = self._asks = [ask]
            carrier = self._start(asks, spawn)
            if self._asks is asks:  # else an eager task has left already
                self._carrier = carrier
        else:
            self._asks.append(ask)
        if len(self._asks) == self._most:
            self._leave()
        return carrier

    def _leave(self) -> None:
        """Who comes from now on travels with the next."""
        self._carrier, self._asks = None, []

    def _start(self, asks: list[Ask], spawn: Spawn) -> Carrier:
        carrier = spawn(self._carry(asks))
        carrier.add_done_callback(partial(self._ended, asks))
        return carrier

    def _ended(self, asks: list[Ask], carrier: Carrier) -> None:
        """Nobody waits for ever, whatever ended it."""
        if self._asks is asks:  # it was cancelled before its first step
            self._leave()
        error = HubClosed() if carrier.cancelled() else carrier.exception() or HubClosed()
        fail_all([ask.answer for ask in asks], error if isinstance(error, Exception) else HubClosed())

    async def _carry(self, asks: list[Ask]) -> None:
        if self._asks is asks:
            self._leave()
        try:
            await self._in_turn(partial(self._deliver, asks))
        except Exception as error:
            fail_all([ask.answer for ask in asks], error)

    async def _deliver(self, asks: list[Ask]) -> None:
        asks = [ask for ask in asks if not ask.is_left]
        if len(asks) > 1:
            await self._together(asks)
            return
        for ask in asks:
            send = self._one if ask.replicas is None else partial(self._one_and_wait, replicas=ask.replicas)
            ask.tell(await send(ask.call, ask.words))

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

    async def _together(self, asks: Sequence[Ask]) -> None:
        replies = await self._piped([(*_heads(ask.call)[0], *ask.words) for ask in asks])
        unknown = []
        for ask, reply in zip(asks, replies, strict=True):
            if isinstance(reply, Exception) and is_noscript(reply):
                unknown.append(ask)
            else:  # before anything can go wrong with the others
                ask.tell(reply)
        if unknown:
            replies = await self._piped([(*_heads(ask.call)[1], *ask.words) for ask in unknown])
            for ask, reply in zip(unknown, replies, strict=True):
                ask.tell(reply)

    async def _piped(self, commands: Sequence[Words]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        return list(await pipeline.execute(raise_on_error=False))  # and it has given back its connection


def _heads(call: Call[Any]) -> tuple[tuple[str, str], tuple[str, bytes]]:
    """What comes before the words: by the script's digest, and by its text where the server does not know that."""
    each = script(call.script)
    return ("EVALSHA", each.sha), ("EVAL", each.text)
