"""The one subscription of a hub, through which scripts tell its waiters what happened, each by its token.

A message is ``<token> <text>``. Whatever is lost with a connection is made good by a wake-up of everybody when it is
there again, and by the times at which waiters look by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from riskscale._core.call import text

log = logging.getLogger("riskscale.mailbox")

QUIET = 10.0
"""Seconds without a message after which the connection must prove that it lives."""
PAUSES = (0.05, 0.2, 1.0, 5.0)
"""Seconds between attempts to subscribe."""
REGRET = 60.0
"""Seconds; a place in a queue lives for 30 s after the last call for it, which may be slow to arrive."""
MOST_REGRETS = 1000
LONGEST = 128
LOST, BREAKERS, PARTITIONS = "lost", "breakers", "partitions"
"""The channels, after the root, on which all hubs hear: whose lease was taken by force, of breakers, of partitions."""


def channel(root: str, name: str) -> str:
    """On which all hubs with that root hear; '' where it would be too long to be named to a script."""
    whole = f"{root}:{name}"
    return whole if len(whole) <= LONGEST else ""


class Event(Protocol):
    """Of asyncio or threading."""

    def set(self) -> None: ...
    def clear(self) -> None: ...


class Listener(Protocol):
    """Whoever hears the messages for a token."""

    @property
    def token(self) -> str: ...
    def put(self, message: str) -> None: ...


class Slot:
    """Where the messages for one token arrive."""

    def __init__(self, token: str, new_event: Callable[[], Any]) -> None:
        self.token = token
        self._new_event = new_event
        self._event: Any = None
        self._texts: deque[str] = deque()

    @property
    def event(self) -> Any:
        """Set while there is something to take; made for the first who waits, since most need not."""
        if self._event is None:
            self._event = self._new_event()
            if self._texts:  # from before anybody could see the event
                self._event.set()
        return self._event

    def put(self, message: str) -> None:
        """From the subscription's side: leave a message ('' only wakes) and wake the waiter."""
        self._texts.append(message)
        if self._event is not None:
            self._event.set()

    def take(self) -> str:
        """From the waiter's side: the message that matters, '' if there is none."""
        self.event.clear()  # before reading: what comes meanwhile sets it again
        seen = ""
        while self._texts:
            message = self._texts.popleft()
            seen = seen if seen == "grant" else message or seen
        return seen


class Regret:
    """A clean-up that failed: its token may be in a queue still. It is done when the token is granted something."""

    def __init__(self, token: str, again: Callable[[], object]) -> None:
        self.token, self._again = token, again

    def put(self, message: str) -> None:
        """From the subscription's side."""
        if message == "grant":
            self._again()


class BaseMailbox:
    """What the asyncio mailbox shares with the blocking one: who waits, and what a message means."""

    def __init__(self, client: Any, root: str, is_cluster: bool, event: Callable[[], Event]) -> None:
        self._own = ""
        self.channel = ""
        """The name to give to scripts; '' while the subscription is not confirmed."""
        self._client, self._root, self._event = client, root, event
        self._listeners: dict[str, list[Listener]] = {}
        self._waiting = 0
        self._regrets: deque[tuple[float, Regret]] = deque()
        # A cluster's PUBLISH counts the receivers of one node alone, so there a script could not tell who is reached.
        room = len(root) + 33 <= LONGEST
        self._possible = room and not is_cluster and callable(getattr(client, "pubsub", None))
        self._failures = 0

    def open(self, token: str) -> Slot:
        """A slot for one that waits, from now until it is closed."""
        slot = Slot(token, self._event)
        self.add(slot)
        self._waiting += 1
        return slot

    def add(self, listener: Listener) -> None:
        """Messages for its token go to it from now on."""
        self._listeners.setdefault(listener.token, []).append(listener)

    def remove(self, listener: Listener) -> None:
        """No more of them."""
        listeners = self._listeners[listener.token]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[listener.token]

    def regret(self, token: str, again: Callable[[], object], now: float) -> None:
        """Let ``again`` be called when what could not be given back is granted, for as long as that may be."""
        while self._regrets and (self._regrets[0][0] <= now or len(self._regrets) >= MOST_REGRETS):
            self.remove(self._regrets.popleft()[1])
        regret = Regret(token, again)
        self._regrets.append((now + REGRET, regret))
        self.add(regret)

    def _close(self, slot: Slot) -> bool:
        self.remove(slot)
        self._waiting -= 1
        return not self._waiting

    def wake(self) -> None:
        """Make everybody look."""
        for listeners in list(self._listeners.values()):
            for listener in list(listeners):
                listener.put("")

    def _channels(self) -> tuple[str, ...]:
        """Its own, a new one each time, and those on which all hubs hear."""
        self._own = f"{self._root}:mailbox:{secrets.token_hex(12)}"
        return self._own, *(channel(self._root, name) for name in (LOST, BREAKERS, PARTITIONS))

    def _take(self, message: Any) -> None:
        if message["type"] == "subscribe":  # the first time, and again after a loss: messages may be lost
            if text(message["channel"]) == self._own:
                self.channel, self._failures = self._own, 0
                self.wake()
        elif message["type"] == "message":
            token, _, rest = text(message["data"]).partition(" ")
            for listener in list(self._listeners.get(token, ())):
                listener.put(rest)

    def _broken(self, error: BaseException | None) -> float:
        """Waiters poll from now on; seconds after which to subscribe anew."""
        self.channel = ""
        self.wake()
        if error is not None and not self._failures:
            log.warning("no subscription (%s): who waits for a lock polls", type(error).__name__)
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        return pause


class Mailbox(BaseMailbox):
    """For asyncio: a task reads the subscription while it is wanted."""

    def __init__(self, client: Any, root: str, is_cluster: bool) -> None:
        super().__init__(client, root, is_cluster, asyncio.Event)
        self._task: asyncio.Task[None] | None = None

    def subscribe(self) -> None:
        """Begin to, unless it has."""
        if self._possible and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self, slot: Slot) -> bool:
        """End a slot; whether it was the last."""
        return self._close(slot)

    async def aclose(self) -> None:
        """End the subscription."""
        task, self._task, self.channel = self._task, None, ""
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _wanted(self) -> bool:
        """Asked after each await: redis-py may swallow a cancellation (by asyncio.wait_for of Python 3.11)."""
        return self._task is asyncio.current_task()

    async def _run(self) -> None:
        while self._wanted():
            error = None
            pubsub = self._client.pubsub()
            try:
                await self._read(pubsub)
            except Exception as caught:
                error = caught
            finally:
                pause = self._broken(error) if self._wanted() else 0.0
                with suppress(Exception):
                    await pubsub.aclose()
            await asyncio.sleep(pause)

    async def _read(self, pubsub: Any) -> None:
        await pubsub.subscribe(*self._channels())
        silent = False
        while self._wanted():
            message = await pubsub.get_message(timeout=QUIET)
            if message is not None:
                silent = False
                self._take(message)
            elif silent:
                raise ConnectionError("the subscription gave no sign of life")
            else:
                await pubsub.ping()
                silent = True
