"""The blocking hub's subscription, read by a thread of its own; see :mod:`riskscale._core.mailbox`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from riskscale._core.mailbox import QUIET, BaseMailbox, Listener, Slot

LOOK = 1.0
"""Seconds after which the thread looks whether it is still wanted, should the word of it be lost."""


class Mailbox(BaseMailbox):
    """For threads."""

    def __init__(self, client: Any, root: str, is_cluster: bool) -> None:
        super().__init__(client, root, is_cluster, threading.Event)
        self._mutex = threading.RLock()
        self._reader: _Reader | None = None

    def open(self, token: str) -> Slot:
        """A slot for one that waits, from now until it is closed."""
        with self._mutex:
            return super().open(token)

    def add(self, listener: Listener) -> None:
        """Messages for its token go to it from now on."""
        with self._mutex:
            super().add(listener)

    def remove(self, listener: Listener) -> None:
        """No more of them."""
        with self._mutex:
            super().remove(listener)

    def regret(self, token: str, again: Callable[[], object], now: float) -> None:
        """See :meth:`BaseMailbox.regret`; called by a thread that must not be kept."""
        with self._mutex:
            super().regret(token, again, now)

    def subscribe(self) -> None:
        """Begin to, unless it has."""
        with self._mutex:
            if self._possible and self._reader is None and self._listeners:
                self._reader = _Reader(self)
                self._reader.thread.start()

    def close(self, slot: Slot, *, last: bool) -> None:
        """End a slot; with ``last``, the subscription too when nobody waits any more."""
        with self._mutex:
            reader = self._let_go() if self._close(slot) and last else None
        if reader:
            reader.stop()

    def end(self) -> None:
        """End the subscription."""
        with self._mutex:
            reader = self._let_go()
        if reader:
            reader.stop()

    def _let_go(self) -> _Reader | None:
        reader, self._reader, self.channel = self._reader, None, ""
        return reader

    def heard(self, reader: _Reader, message: Any) -> None:
        """From the thread: a message; one of a reader that was let go counts no more."""
        with self._mutex:
            if self._reader is reader:
                self._take(message)

    def lost(self, reader: _Reader, error: Exception | None) -> float:
        """From the thread: the subscription broke; seconds after which to try again."""
        with self._mutex:
            return self._broken(error) if self._reader is reader else 0.0

    def new_subscription(self) -> tuple[Any, tuple[str, ...]]:
        """What a reader reads."""
        return self._client.pubsub(), self._channels()


class _Reader:
    """A thread and its subscription."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._stopped = threading.Event()
        self._pubsub: Any = None
        self.thread = threading.Thread(target=self._run, name="riskscale-mailbox", daemon=True)

    def stop(self) -> None:
        """Returns when the thread is gone, or is about to go."""
        self._stopped.set()
        with suppress(Exception):  # wakes it; where that does not get through, it looks by itself
            self._pubsub.unsubscribe()
        if self.thread is not threading.current_thread():
            self.thread.join(2 * LOOK)

    def _run(self) -> None:
        while not self._stopped.is_set():
            error = None
            self._pubsub, channels = self._mailbox.new_subscription()
            try:
                self._pubsub.subscribe(*channels)
                self._read()
            except Exception as caught:
                error = caught
            pause = self._mailbox.lost(self, error)
            with suppress(Exception):
                self._pubsub.close()
            self._stopped.wait(pause)

    def _read(self) -> None:
        silent = 0.0
        while not self._stopped.is_set():
            message = self._pubsub.get_message(timeout=LOOK)
            if message is not None:
                silent = 0.0
                self._mailbox.heard(self, message)
                continue
            silent += LOOK
            if silent >= 2 * QUIET:
                raise ConnectionError("the subscription gave no sign of life")
            if silent == QUIET:
                self._pubsub.ping()
