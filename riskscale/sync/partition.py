"""Groups of partitions for threads; see :mod:`riskscale.partition.group`.

Three threads while a replica is in a group: one reckons, one sends, so that a call that hangs does not keep the first
from giving up in time, and one calls the user back.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

from riskscale._core.call import Call
from riskscale._core.callables import refuse_coroutine_function
from riskscale._core.durations import Duration
from riskscale.errors import HubClosed
from riskscale.partition.assignment import News
from riskscale.partition.base import ANSWER, BasePartitionGroup, BasePartitionRouter, Heard
from riskscale.partition.calls import GroupInfo
from riskscale.partition.member import Member
from riskscale.partition.partitioner import Strategy
from riskscale.sync.hub import Hub, hub_of

CLOSING = 5.0
"""Seconds for which a hub that closes waits for what drains."""


class PartitionGroup(BasePartitionGroup):
    """Replicas that share out partitions, for threads; see :class:`riskscale.PartitionGroup`.

    A callback cannot be cut short: what it has not ended when ``drain`` is over is given back all the same.
    """

    def __init__(
        self,
        client: Any,
        group: str,
        num_partitions: int,
        ttl: Duration,
        *,
        address: str = "",
        on_assigned: Heard | None = None,
        on_revoked: Heard | None = None,
        drain: Duration = 5.0,
        strategy: Strategy = "modulo",
    ) -> None:
        self._hub: Hub = hub_of(client)
        super().__init__(self._hub, group, num_partitions, ttl, address, on_assigned, on_revoked, drain, strategy)
        for argument, callback in (("on_assigned", on_assigned), ("on_revoked", on_revoked)):
            refuse_coroutine_function(argument, callback, "PartitionGroup")
        self._mutex = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PartitionGroup:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """See :meth:`riskscale.PartitionGroup.start`."""
        with self._mutex:
            member = self._member = self._new_member()
        try:
            self._hub.drive(self._joining(member))
        except BaseException:
            self._member = None
            raise
        member.wake = self._wake.set
        self._hub.mailbox.add(member)
        if self._hub.lasting:
            self._hub.mailbox.subscribe()
        self._hub._leases.add(self)
        self._thread = threading.Thread(target=self._run, args=(member,), name="riskscale-partitions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See :meth:`riskscale.PartitionGroup.aclose`."""
        self._close(self._spec.drain + self._spec.ttl)

    def give_back(self) -> None:
        """:meth:`close`, by the hub that closes, and does not wait for long."""
        self._close(CLOSING)

    def _close(self, timeout: float) -> None:
        member, thread = self._member, self._thread
        if member is None or thread is None:
            return
        with self._mutex:
            member.leave()
        if thread is not threading.current_thread():
            thread.join(timeout)  # unless it hangs in a call

    def inspect(self) -> GroupInfo:
        """See :meth:`riskscale.PartitionGroup.inspect`."""
        return self._hub.run(self._spec.calls.read(0))

    def _run(self, member: Member) -> None:
        work: SimpleQueue[Call[Any] | None] = SimpleQueue()
        news: SimpleQueue[News | None] = SimpleQueue()
        sender = threading.Thread(target=self._sends, args=(member, work), name="riskscale-beats", daemon=True)
        teller = threading.Thread(target=self._tells, args=(member, news), name="riskscale-told", daemon=True)
        sender.start()
        teller.start()
        while True:
            self._wake.clear()
            with self._mutex:
                call = member.send()
                while member.news:
                    news.put(member.news.popleft())
                if member.is_done or self._hub.closed:
                    break
                self._count(member)
                pause = member.pause()
            if call is not None:
                work.put(call)
            self._wake.wait(pause)
        work.put(None)
        sender.join(self._spec.heartbeat)  # what it sent must reach the server first
        with self._mutex:
            patience = member.end()  # before it leaves: what a late reply brought is another's at once
        self._leave(member)
        self._hub.mailbox.remove(member)
        with self._mutex:
            self._member = self._thread = None
            while member.news:
                news.put(member.news.popleft())
        news.put(None)
        teller.join(patience)

    def _sends(self, member: Member, work: SimpleQueue[Call[Any] | None]) -> None:
        while (call := work.get()) is not None:
            reply: Any = None
            failure: Exception | None = None
            try:
                reply = self._hub._run(call)
            except HubClosed:
                pass
            except Exception as error:
                failure = error
            with self._mutex:
                if reply is None:
                    member.failed(failure)
                else:
                    member.answered(reply)
            self._wake.set()

    def _tells(self, member: Member, queue: SimpleQueue[News | None]) -> None:
        while (news := queue.get()) is not None:
            with self._mutex:
                callback, items = self._callback(news)
            try:
                if callback and items:
                    callback(items)
            except BaseException:  # SystemExit too: those after it must hear all the same
                self._callback_failed(news)
            if not news.assigned:
                with self._mutex:
                    member.drained(news.items)

    def _leave(self, member: Member) -> None:
        try:
            self._hub._run(self._spec.calls.leave(member.name))
        except Exception as error:
            self._not_left(error)


class PartitionRouter(BasePartitionRouter):
    """Which replica owns a tenant's partition, for any number of threads; see :class:`riskscale.PartitionRouter`."""

    def __init__(self, group: PartitionGroup, *, refresh: Duration = 1.0) -> None:
        super().__init__(group, PartitionGroup, refresh)
        self._hub = group._hub
        self._mutex = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PartitionRouter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """See :meth:`riskscale.PartitionRouter.start`."""
        if self._thread is not None:
            return
        self.reread()
        self._hub.check_open()
        self._table.wake = self._wake.set
        self._hub.mailbox.add(self._table)
        if self._hub.lasting:
            self._hub.mailbox.subscribe()
        self._hub._leases.add(self)
        self._thread = threading.Thread(target=self._follow, name="riskscale-router", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See :meth:`riskscale.PartitionRouter.aclose`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._hub.mailbox.remove(self._table)
            self._wake.set()
            thread.join(ANSWER)  # unless it hangs in a call

    def give_back(self) -> None:
        """:meth:`close`, by the hub that closes."""
        self.close()

    def reread(self) -> None:
        """See :meth:`riskscale.PartitionRouter.reread`."""
        with self._mutex:
            call, sent = self._table.read(), self._hub.monotonic()
        info = self._hub.run(call)
        with self._mutex:
            self._found(info, sent)

    def _follow(self) -> None:
        while self._thread is threading.current_thread():
            self._wake.clear()
            with self._mutex:
                self._table.look()
                due = self._table.pause() == 0
            if due:
                try:
                    self.reread()
                except HubClosed:
                    return
                except Exception as error:
                    self._not_read(error)
            if self._thread is not None:
                self._wake.wait(self._table.pause())
