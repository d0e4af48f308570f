"""One replica of ``riskscale demo``: a task when embedded, else a process (``python -m riskscale.cli.replica``).

It hits a shared rate limit, runs shared workflows and calls a dependency behind a shared breaker, and reports all that.
As a process it reads its work from the first line of standard input and orders from those after it; the end of the
input ends it, so that no replica outlives the parent.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from riskscale import Hub, Lease, LeaseLost, Limit, Lock, RateLimiter
from riskscale.cli import server
from riskscale.cli.caller import Caller
from riskscale.cli.errors import explain
from riskscale.cli.events import HOLD, End, Event, Failed, Hit, Stall, Start, encode
from riskscale.cli.outage import BREAK

MICRO = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every replica of one run does; seconds. ``brand`` keeps two runs of one prefix apart."""

    prefix: str
    brand: str = "demo"
    limit: str = "20/1s"
    tenants: tuple[str, ...] = ("tenant-a", "tenant-b")
    workflows: tuple[str, ...] = ("workflow-1", "workflow-2", "workflow-3")
    ttl: float = 1.5
    pace: float = 0.01
    shortest: float = 0.01
    longest: float = 0.05
    url: str | None = None
    cluster: bool = False

    def lock(self, workflow: str) -> str:
        """The name of a workflow's lock."""
        return f"{self.brand}:{workflow}"

    @property
    def breaker(self) -> str:
        """The name of the dependency's breaker."""
        return f"{self.brand}:payments"


class Replica:
    """The work of replica ``number``; ``emit`` takes what it reports."""

    def __init__(self, hub: Hub, number: int, work: Work, emit: Callable[[Event], None]) -> None:
        self._hub, self._number, self._work, self._emit = hub, number, work, emit
        self._random = random.Random(number)  # noqa: S311 - no secret comes of it
        self._caller = Caller(hub, number, work.breaker, emit)
        self._worst_us = 0
        self._endings: set[asyncio.Task[None]] = set()

    async def run(self, orders: AsyncIterator[str]) -> None:
        """Work until the orders end. After the order to hold: finish, take one lock more, and never let go."""
        runs = {asyncio.create_task(self._run(name)) for name in self._work.workflows}
        ordered = asyncio.create_task(self._obey(orders, runs))
        tasks = {asyncio.create_task(self._hit()), asyncio.create_task(self._caller.run()), ordered, *runs}
        pending = tasks
        try:
            while ordered in pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if not task.cancelled():
                        task.result()
        finally:
            await self._end(tasks)

    async def _obey(self, orders: AsyncIterator[str], runs: set[asyncio.Task[None]]) -> None:
        async for order in orders:
            if order == BREAK:
                self._caller.is_down = True
            elif order == HOLD:
                await self._end(runs)  # so that the doomed lock is the only one whose fate stays open
                await self._hold()

    async def _hit(self) -> None:
        limiter, me = (
            RateLimiter(self._hub, Limit.parse(self._work.limit), name=self._work.brand),
            asyncio.current_task(),
        )
        while me and not me.cancelling():  # fakeredis loses a cancellation on Python 3.11, by its wait_for
            before = time.monotonic()
            await asyncio.sleep(self._work.pace)
            decision = await limiter.hit(self._random.choice(self._work.tenants))
            self._stall(time.monotonic() - before - self._work.pace)
            self._emit(Hit(self._number, decision.key, round(decision.at * MICRO), decision.allowed))

    async def _run(self, workflow: str) -> None:
        lock = Lock(self._hub, self._work.lock(workflow), ttl=self._work.ttl)
        while True:
            lease = await self._taken(lock)
            self._emit(self._start(workflow, lease.fence, lease.at))
            try:
                await asyncio.sleep(self._random.uniform(self._work.shortest, self._work.longest))
            finally:
                ending = asyncio.create_task(self._finish(workflow, lease))
                self._endings.add(ending)  # a release whose time is not known would leave the history open
                ending.add_done_callback(self._endings.discard)
                await asyncio.shield(ending)

    async def _finish(self, workflow: str, lease: Lease) -> None:
        with suppress(LeaseLost):
            await lease.release()
        at = lease.released_at
        self._emit(End(self._number, workflow, lease.fence, None if at is None else round(at * MICRO)))

    async def _hold(self) -> None:
        workflow = self._work.workflows[0]
        lease = await self._taken(Lock(self._hub, self._work.lock(workflow), ttl=self._work.ttl))
        self._emit(self._start(workflow, lease.fence, lease.at, doomed=True))
        await asyncio.Event().wait()

    @staticmethod
    async def _taken(lock: Lock) -> Lease:
        while (lease := await lock.acquire()) is None:
            pass
        return lease

    def _start(self, workflow: str, fence: int, at: float, doomed: bool = False) -> Start:
        return Start(self._number, workflow, fence, round(at * MICRO), round(self._work.ttl * MICRO), doomed)

    async def _end(self, tasks: set[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _stall(self, seconds: float) -> None:
        """The canary: a pause of known length and one call to the server took so much longer."""
        if seconds * MICRO > self._worst_us:
            self._worst_us = round(seconds * MICRO)
            self._emit(Stall(self._number, self._worst_us))


async def _lines_of_stdin() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


def _print(event: Event) -> None:
    print(encode(event), flush=True)


async def _process() -> None:
    lines = _lines_of_stdin()
    number, words = json.loads(await anext(lines))
    work = work_of(words)
    client = server.connect_async(work.url or "", work.cluster)
    try:
        async with Hub(client, key_prefix=work.prefix) as hub:
            await Replica(hub, number, work, _print).run(lines)
    except Exception as error:
        _print(Failed(number, explain(error) or f"{type(error).__name__}: {error}"))
    finally:
        await client.aclose()


def work_of(words: dict[str, Any]) -> Work:
    """Back from JSON, where tuples are lists."""
    tuples: dict[str, Any] = {key: tuple(value) for key, value in words.items() if isinstance(value, list)}
    return Work(**{**words, **tuples})


def first_line(number: int, work: Work) -> str:
    """What a process is told before its orders. Not on its command line: the URL may hold a password."""
    return json.dumps([number, asdict(work)])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends the others
    with suppress(BrokenPipeError, StopAsyncIteration):  # the parent is gone
        asyncio.run(_process())
