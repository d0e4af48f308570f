"""The asyncio hub: what is shared per client, and the driver of flows."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from riskscale._core.answers import Unanswered, within
from riskscale._core.base import GRACE, BaseHub, scripts_to_load
from riskscale._core.call import Call, Cleanup, Finish, Flow, Listen, Step, Wait
from riskscale._core.durations import Duration
from riskscale._core.mailbox import Mailbox, Slot
from riskscale._core.sender import Sender
from riskscale.errors import HubClosed, StateError
from riskscale.typing import MetricsCollector

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger("riskscale.hub")


class Releasable(Protocol):
    """A lease that the hub gives back when it closes."""

    async def give_back(self) -> None: ...


class Hub(BaseHub):
    """What a service shares per client: one a process, made at start, closed at the end.

    Args:
        client: an asyncio client of redis-py or valkey-py (single, Sentinel or cluster). riskscale opens no
            connection of its own and closes none.
        key_prefix: the application's, put before every key; ``[A-Za-z0-9_.:-]*``.
        clock: a callable that gives integer microseconds, for tests, replay, or providers that forbid TIME in
            scripts. None: the server's clock. Keys are then ``rs1c:...``, apart from those on the server's clock.
        metrics: where to count: :class:`riskscale.PrometheusMetrics`, :class:`riskscale.OpenTelemetryMetrics`, or your
            own :class:`riskscale.MetricsCollector`.
        timeout: seconds that one call may take before TimeoutError. None: the client's own time-outs.
        max_in_flight: calls, or pipelines of calls made at the same time, under way; more wait their turn (a client's
            pool raises when it runs out).

    Raises:
        ArgumentError: an argument is malformed, or the client is a blocking one (use ``riskscale.sync.Hub``).

    Calls that tasks make in one turn of the event loop travel in one pipeline, in the context (:mod:`contextvars`) of
    the first of them; each succeeds or fails by itself, but they share a connection and its loss.

    It belongs to the event loop that first uses it and to its process; elsewhere it raises StateError. After
    ``aclose()`` calls raise HubClosed.
    """

    _blocking = False

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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender = Sender(client, self.is_cluster, self.max_in_flight, self.timeout)
        self.mailbox = Mailbox(client, self.root, self.is_cluster)
        self._closing = False
        self._quiet = asyncio.Event()
        self._running = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leases: weakref.WeakSet[Releasable] = weakref.WeakSet()

    async def __aenter__(self) -> Hub:
        self._check()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self, timeout: float = 5.0) -> None:
        """Refuse new calls, wake those who wait, release the leases, and wait ``timeout`` seconds for calls under way.

        Then it is closed: what runs in the background is cancelled, and whoever waits for it gets HubClosed. The client
        stays open, it is yours. Closing twice does nothing.
        """
        if self._closing:
            return
        self._check()
        self._closing = True
        self.mailbox.wake()
        for lease in list(self._leases):
            self.spawn(self._give_back(lease))
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while self._running or self._tasks:
                        self._quiet.clear()
                        await self._quiet.wait()
        finally:  # also of one who is cancelled meanwhile
            self._closed = True
            left = [task for task in self._tasks if not task.done()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self.mailbox.aclose()
            for part in self._parts.values():
                await part.aclose()

    async def preload(self, only: Iterable[str] | None = None) -> None:
        """SCRIPT LOAD ``only`` (script names), or all: before a pipeline, which cannot recover from NOSCRIPT."""
        for each in scripts_to_load(only):
            await self.client.script_load(each.text)

    async def ping(self) -> None:
        """PING, in its turn among the calls, and with what they raise."""
        self.enter()
        try:
            self._check()
            await self._sender.ping()
        finally:
            self.leave()

    async def run(self, call: Call[T]) -> T:
        """One script call, in one round trip: EVALSHA, and EVAL where the server does not know the script yet.

        Raises:
            ArgumentError, StateError: the script's RSARG and RSSTATE.
            HubClosed: the hub was closed.
            TimeoutError: the hub's time budget ran out; the outcome is unknown.
        """
        self.enter()
        try:
            return await self.ask(call)
        finally:
            self.leave()

    def enter(self) -> None:
        """``aclose`` waits from now on until :meth:`leave`; HubClosed once it has begun."""
        self.check_open()
        self._running += 1

    def check_open(self) -> None:
        """HubClosed once ``aclose`` has begun; StateError in another event loop than its own."""
        if self._closing:
            raise HubClosed
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            self._check()

    def leave(self) -> None:
        """The end of what :meth:`enter` began."""
        self._running -= 1
        if self._closing:
            self._quiet.set()

    async def drive(self, flow: Flow[R]) -> R:
        """Run a flow (see :mod:`riskscale._core.call`) to its end and give back what it returns."""
        self._running += 1
        try:
            return await self._drive(flow)
        finally:
            self.leave()

    async def _drive(self, flow: Flow[R]) -> R:
        state = _Driven()
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
                    value = await self._perform(step, state)
                except BaseException as error:
                    failure = error
        finally:
            if state.slot is not None and self.mailbox.close(state.slot) and not self.lasting:
                await self._end_subscription()

    async def _end_subscription(self) -> None:
        """Nobody listens any more. A flow may have returned a lease: who is cancelled meanwhile gets it, and hears of
        that at its next await, where it can give it back."""
        task, interrupted = asyncio.current_task(), False
        closing: set[asyncio.Task[None]] = {self.spawn(self.mailbox.aclose())}
        while closing:
            try:
                _, closing = await asyncio.wait(closing)
            except asyncio.CancelledError:
                interrupted = True
        if interrupted and task is not None:
            task.uncancel()  # `cancel` counts it once more
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that ``aclose`` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._quiet.set()
        if not task.cancelled():
            task.exception()  # whoever still waits sees it; one that gave up is past caring

    async def _give_back(self, lease: Releasable) -> None:
        try:
            await lease.give_back()
        except Exception as error:
            log.warning("a lease could not be released while closing: %s", type(error).__name__)

    def _check(self) -> None:
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise StateError("this hub belongs to the event loop that first used it; make one per loop")

    async def ask(self, call: Call[T]) -> T:
        """:meth:`run` for those who have entered, also while the hub closes."""
        self._check()
        return await self._sender.now(call, self._words(call), self.spawn)

    async def _perform(self, step: Step, state: _Driven) -> Any:
        match step:
            case Finish():
                return await self._finish(step, state.under_way)
            case Call():
                return await self.run(step)
            case Listen():
                if state.slot is None:
                    state.slot = self.mailbox.open(step.token)
                return self.mailbox.channel
            case Wait():
                assert state.slot is not None  # noqa: S101 - a flow listens before it waits
                return await self._wait(step.seconds, state.slot)
            case Cleanup():
                return await self._clean_up(step, state.under_way)

    async def _finish(self, step: Finish[T], under_way: list[asyncio.Task[Any]]) -> Any:
        if self._closing and not step.last:
            raise HubClosed
        self._check()
        answer, carrier = self._sender.soon(step.call, self._words(step.call), self.spawn, step.replicas)
        under_way.append(carrier)
        try:
            await within(step.budget, answer, step.call.script)
        except Unanswered:
            raise
        except Exception:  # noqa: S110 - it is told below
            pass
        under_way.remove(carrier)
        if self._closing and not step.last:  # too late: the flow gives back what it got
            raise HubClosed
        return answer.result()

    async def _clean_up(self, step: Cleanup[T], under_way: list[asyncio.Task[Any]]) -> T | None:
        async def last() -> T | None:
            if under_way:  # the call whose outcome is unknown must reach the server first
                await asyncio.wait(under_way)
            call = step.made()
            if call is None:
                return None
            try:
                return await self.ask(call)
            except Exception as error:
                log.warning("%s failed while cleaning up: %s", call.script, type(error).__name__)
                if step.token:
                    self.mailbox.regret(step.token, lambda: self.spawn(self.ask(call)), self.monotonic())
                return None

        task = self.spawn(last())
        done, _ = await asyncio.wait({task}, timeout=GRACE if step.awaited or not self.lasting else 0)
        return task.result() if done and not task.cancelled() else None

    async def _wait(self, delay: float, slot: Slot) -> str:
        self.mailbox.subscribe()
        if not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await slot.event.wait()
        if self._closing:
            raise HubClosed
        return slot.take()


@dataclass(slots=True)
class _Driven:
    """What a flow has under way."""

    under_way: list[asyncio.Task[Any]] = field(default_factory=list)
    slot: Slot | None = None


def hub_of(client: Any) -> Hub:
    """The hub given, or a new one around a bare client: that one leaves no task behind."""
    if isinstance(client, Hub):
        return client
    hub = Hub(client)
    hub.lasting = False
    return hub
