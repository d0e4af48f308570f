"""The blocking hub; see :mod:`riskscale._core.hub`."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from riskscale._core.base import (
    BaseHub,
    first_error,
    is_noscript,
    raise_translated,
    scripts_to_load,
    sent_with_wait,
)
from riskscale._core.call import Call, Cleanup, Finish, Flow, Listen, Step, Wait
from riskscale._core.durations import Duration
from riskscale._core.mailbox import Slot
from riskscale._core.scripts import script
from riskscale.errors import HubClosed
from riskscale.sync.mailbox import Mailbox
from riskscale.typing import MetricsCollector

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger("riskscale.hub")


class Releasable(Protocol):
    """A lease that the hub gives back when it closes."""

    def give_back(self) -> None: ...


class Hub(BaseHub):
    """What a service shares per blocking client, from any of its threads; see :class:`riskscale.Hub`.

    A blocking client's own ``socket_timeout`` bounds a call. Where it, with its retries, is longer than ``timeout``,
    the hub says so in a warning, because it cannot cut a call short.
    """

    _blocking = True

    def __init__(
        self,
        client: Any,
        *,
        key_prefix: str = "",
        clock: Callable[[], int] | None = None,
        metrics: MetricsCollector | None = None,
        timeout: Duration | None = None,
        max_in_flight: int = 64,
    ) -> None:
        super().__init__(client, key_prefix, clock, metrics, timeout, max_in_flight)
        # A semaphore that costs a call next to nothing: threading's own is made of Python.
        self._permits: SimpleQueue[int] = SimpleQueue()
        for number in range(self.max_in_flight):
            self._permits.put(number)
        self.mailbox = Mailbox(client, self.root, self.is_cluster)
        self._closing = False
        self._quiet = threading.Condition()
        self._flows = 0
        self._leases: weakref.WeakSet[Releasable] = weakref.WeakSet()
        if self.timeout is not None:
            self._warn_of_longer(self.timeout)

    def __enter__(self) -> Hub:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, timeout: float = 5.0) -> None:
        """Refuse new calls, wake those who wait, release the leases, and wait ``timeout`` seconds for calls under way.

        The client stays open, it is yours. Closing twice does nothing.
        """
        if self._closing:
            return
        self._check_open()
        self._closing = True
        self.mailbox.wake()
        deadline = time.monotonic() + timeout
        self._give_back()
        with self._quiet:
            self._quiet.wait_for(lambda: not self._flows, timeout)
        self._give_back()  # what was granted meanwhile, to a thread that had not seen the end coming
        permits: list[int] = []
        with suppress(Empty):  # whoever holds all permits knows that no call is under way
            while len(permits) < self.max_in_flight:
                permits.append(self._permits.get(timeout=max(0.0, deadline - time.monotonic())))
        self._closed = True
        self.mailbox.end()
        for part in self._parts.values():
            part.close()
        for permit in permits:  # to those who came late, and now hear that it is closed
            self._permits.put(permit)

    def _give_back(self) -> None:
        for lease in list(self._leases):
            try:
                lease.give_back()
            except Exception as error:
                log.warning("a lease could not be released while closing: %s", type(error).__name__)

    def preload(self, only: Iterable[str] | None = None) -> None:
        """SCRIPT LOAD ``only`` (script names), or all: before a pipeline, which cannot recover from NOSCRIPT."""
        for each in scripts_to_load(only):
            self.client.script_load(each.text)

    def check_open(self) -> None:
        """HubClosed once ``close`` has begun; StateError in another process."""
        self._check_open()
        if self._closing:
            raise HubClosed

    def ping(self) -> None:
        """See :meth:`riskscale.Hub.ping`."""
        self.check_open()
        self._send(lambda *_: self.client.ping(), "", None, b"", ())

    def run(self, call: Call[T]) -> T:
        """One script call, in one round trip; see :meth:`riskscale.Hub.run`."""
        if self._closing:
            raise HubClosed
        return self._run(call)

    def drive(self, flow: Flow[R]) -> R:
        """Run a flow (see :mod:`riskscale._core.call`) to its end and give back what it returns."""
        with self._quiet:
            self._flows += 1
        try:
            return self._drive(flow)
        finally:
            with self._quiet:
                self._flows -= 1
                self._quiet.notify_all()

    def _drive(self, flow: Flow[R]) -> R:
        slots: list[Slot] = []
        value: Any = None
        failure: BaseException | None = None
        try:
            while True:
                try:
                    step = flow.send(value) if failure is None else flow.throw(failure)
                except StopIteration as end:
                    result: R = end.value
                    return result
                value, failure = None, None
                try:
                    value = self._perform(step, slots)
                except BaseException as error:
                    failure = error
        finally:
            for slot in slots:
                self.mailbox.close(slot, last=not self.lasting)

    def _run(self, call: Call[T]) -> T:
        words, each = self._words(call), script(call.script)
        return call.decode(self._send(self.client.evalsha, each.sha, self.client.eval, each.text, words))

    def _run_and_wait(self, call: Call[T], replicas: tuple[int, float]) -> tuple[T, int]:
        def send(*head_and_words: Any) -> Any:
            with self.client.pipeline(transaction=False) as pipeline:
                return first_error(sent_with_wait(pipeline, head_and_words, replicas))

        words, each = self._words(call), script(call.script)
        by_digest, by_text = partial(send, "EVALSHA"), partial(send, "EVAL")
        reply, acknowledged = self._send(by_digest, each.sha, by_text, each.text, words)
        return call.decode(reply), acknowledged

    def _send(self, by_digest: Any, sha: str, by_text: Any, text: bytes, words: tuple[Any, ...]) -> Any:
        self._check_open()
        permit = self._permits.get()
        try:
            if self._closed:  # while this call waited for its turn
                raise HubClosed
            try:
                return by_digest(sha, *words)
            except Exception as error:
                if not is_noscript(error):
                    raise
            return by_text(text, *words)
        except Exception as error:
            raise_translated(error)
        finally:
            self._permits.put(permit)

    def _perform(self, step: Step, slots: list[Slot]) -> Any:
        match step:
            case Call():
                return self.run(step)
            case Finish():
                return self._finish(step)
            case Listen():
                if not slots:
                    slots.append(self.mailbox.open(step.token))
                return self.mailbox.channel
            case Wait():
                return self._wait(step.seconds, slots[0])
            case Cleanup():
                return self._clean_up(step)

    def _clean_up(self, step: Cleanup[T]) -> T | None:
        call = step.made()
        if call is None:
            return None
        try:
            return self._run(call)
        except Exception as error:
            log.warning("%s failed while cleaning up: %s", call.script, type(error).__name__)
            if step.token:
                self.mailbox.regret(step.token, partial(self._in_background, call), self.monotonic())
            return None

    def _in_background(self, call: Call[Any]) -> None:
        def run() -> None:
            with suppress(Exception):
                self._run(call)

        threading.Thread(target=run, name="riskscale-cleanup", daemon=True).start()

    def _finish(self, step: Finish[T]) -> Any:
        if step.last:
            return self._run(step.call)
        if self._closing:
            raise HubClosed
        reply = self._run(step.call) if step.replicas is None else self._run_and_wait(step.call, step.replicas)
        if self._closing:  # too late: the flow gives back what it got
            raise HubClosed
        return reply

    def _wait(self, delay: float, slot: Slot) -> str:
        self.mailbox.subscribe()
        if not self._closing:
            slot.event.wait(delay)
        if self._closing:
            raise HubClosed
        return slot.take()

    def _warn_of_longer(self, timeout: float) -> None:
        pool = getattr(self.client, "connection_pool", None)
        options = getattr(pool, "connection_kwargs", {})
        per_try = options.get("socket_timeout")
        tries = 1 + getattr(options.get("retry"), "_retries", 0)
        if per_try is None or per_try * tries > timeout:
            longest = "for ever" if per_try is None else f"{per_try * tries:g} s ({tries} tries of {per_try:g} s)"
            log.warning("timeout=%g cannot be kept: the client may wait %s; set its socket_timeout", timeout, longest)


def hub_of(client: Any) -> Hub:
    """The hub given, or a new one around a bare client: that one leaves no thread behind."""
    if isinstance(client, Hub):
        return client
    hub = Hub(client)
    hub.lasting = False
    return hub
