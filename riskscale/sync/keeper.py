"""The one renewer of a blocking hub; see :mod:`riskscale.lease.keeper`.

Two threads while there is a lease to look after: one reckons and tells, the other renews, so that a call that hangs
does not keep the first from telling.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from queue import SimpleQueue
from typing import Any

from riskscale.errors import HubClosed
from riskscale.lease.book import Batch, Book, Watch
from riskscale.sync.hub import Hub

log = logging.getLogger("riskscale.lease")


class Keeper:
    """For threads."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._book = Book(hub.slot_of)
        self._mutex = threading.Lock()
        self._changed = threading.Event()
        self._forced: deque[Watch] = deque()
        self._works = False
        self._threads: list[threading.Thread] = []

    def watch(self, watch: Watch) -> None:
        """From now until it is forgotten or lost."""
        watch.told = self._told
        self._hub.mailbox.add(watch)
        with self._mutex:
            self._book.add(watch)
            if not self._works:
                self._start()
        if self._hub.lasting:  # a bare client's leases hear at their next renewal
            self._hub.mailbox.subscribe()
        self._changed.set()

    def forget(self, watch: Watch) -> None:
        """It was released, or its holder knows that it is lost."""
        if self._drop(watch):
            self._hub.mailbox.remove(watch)
            self._changed.set()

    def changed(self, watch: Watch) -> None:
        """Its deadline may have moved."""
        with self._mutex:
            self._book.changed(watch)
        self._changed.set()

    def close(self) -> None:
        """With the hub, whose leases are released by then."""
        with self._mutex:
            for watch in list(self._book.watches):
                self._book.forget(watch)
        self._changed.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(1.0)  # unless it hangs in a call

    def _start(self) -> None:
        self._works = True
        work: SimpleQueue[Batch | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name="riskscale-keeper", daemon=True),
            threading.Thread(target=self._renewals, args=(work,), name="riskscale-renewer", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _drop(self, watch: Watch) -> bool:
        with self._mutex:
            known = watch in self._book.watches
            self._book.forget(watch)
        return known

    def _told(self, watch: Watch) -> None:
        self._forced.append(watch)  # no more than that: the mailbox is locked meanwhile
        self._changed.set()

    def _run(self, work: SimpleQueue[Batch | None]) -> None:
        while True:
            self._changed.clear()
            with self._mutex:
                if not self._book.watches:
                    self._works = False
                    work.put(None)
                    break
                lost, batches = self._book.look(self._hub.monotonic())
                at = self._book.next_at()
            for batch in batches:
                work.put(batch)
            while self._forced:
                watch = self._forced.popleft()
                lost += [watch] if self._drop(watch) else []
            for watch in lost:
                self._lose(watch)
            self._changed.wait(None if at == math.inf else max(0.0, at - self._hub.monotonic()))

    def _renewals(self, work: SimpleQueue[Batch | None]) -> None:
        while (batch := work.get()) is not None:
            fences: Any = None
            try:
                fences = self._hub.run(batch.call)
            except HubClosed:
                pass  # the hub closes, and gives them back
            except Exception as error:
                log.warning("%d leases could not be renewed: %s", len(batch.watches), type(error).__name__)
            with self._mutex:
                lost = [] if fences is None else self._book.answered(batch, fences)
                if fences is None:
                    self._book.failed(batch, self._hub.monotonic())
            for watch in lost:
                self._lose(watch)
            self._changed.set()

    def _lose(self, watch: Watch) -> None:
        watch.grant.lost = True
        self._hub.mailbox.remove(watch)
        lease = watch.lease()
        if lease is not None:
            lease._hear()
