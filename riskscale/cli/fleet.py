"""The replicas of ``riskscale demo``: processes on a server, tasks when embedded. Both work alike for the parent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Protocol

from riskscale import Hub
from riskscale.cli import server
from riskscale.cli.errors import explain
from riskscale.cli.events import Event, Failed, decode
from riskscale.cli.replica import Replica, Work, first_line

Report = Callable[[Event], None]
PATIENCE = 10.0
"""Seconds that a replica has for its last runs before it is ended."""


class Fleet(Protocol):
    """Numbered replicas, from 1."""

    async def start(self) -> None:
        """Bring them up."""

    async def order(self, number: int, order: str) -> None:
        """Give one an order."""

    async def kill(self, number: int) -> str:
        """End one without a word to it; how that was done."""

    async def stop(self) -> None:
        """Let the others finish."""


class Tasks:
    """Replicas in this process, each with its own hub, on one embedded server."""

    def __init__(self, count: int, work: Work, report: Report) -> None:
        self._work, self._report = work, report
        self._fake = server.fake_server()
        self._orders: dict[int, asyncio.Queue[str | None]] = {n: asyncio.Queue() for n in range(1, count + 1)}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._clients: list[Any] = []

    async def start(self) -> None:
        """See :class:`Fleet`."""
        for number in self._orders:
            self._tasks[number] = asyncio.create_task(self._replica(number))

    async def order(self, number: int, order: str) -> None:
        """See :class:`Fleet`."""
        await self._orders[number].put(order)

    async def kill(self, number: int) -> str:
        """A task cannot be killed; it is abandoned: its hub is not closed, its lease not released."""
        task = self._tasks.pop(number)
        task.cancel()
        await asyncio.wait({task})
        return "its task was abandoned"

    async def stop(self) -> None:
        """See :class:`Fleet`."""
        for number in self._tasks:
            await self._orders[number].put(None)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=PATIENCE)
        for client in self._clients:
            await client.aclose()

    async def _replica(self, number: int) -> None:
        import fakeredis

        client: Any = fakeredis.FakeAsyncRedis(server=self._fake)
        self._clients.append(client)
        hub = Hub(client, key_prefix=self._work.prefix)
        try:
            await Replica(hub, number, self._work, self._report).run(self._given(number))
            await hub.aclose()
        except Exception as error:
            self._report(Failed(number, explain(error) or repr(error)))

    async def _given(self, number: int) -> AsyncIterator[str]:
        while (order := await self._orders[number].get()) is not None:
            yield order


class Processes:
    """Replicas as processes of the operating system."""

    def __init__(self, count: int, work: Work, report: Report) -> None:
        self._numbers, self._work, self._report = range(1, count + 1), work, report
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._expected: set[int] = set()

    async def start(self) -> None:
        """See :class:`Fleet`."""
        pipe = asyncio.subprocess.PIPE
        for number in self._numbers:
            words = (sys.executable, "-m", "riskscale.cli.replica")
            process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
            self._processes[number] = process
            self._readers.append(asyncio.create_task(self._read(number, process)))
            await self._tell(number, first_line(number, self._work))

    async def order(self, number: int, order: str) -> None:
        """See :class:`Fleet`."""
        await self._tell(number, order)

    async def kill(self, number: int) -> str:
        """SIGKILL."""
        self._expected.add(number)
        process = self._processes.pop(number)
        process.kill()
        await process.wait()
        return f"SIGKILL of process {process.pid}"

    async def stop(self) -> None:
        """Close their inputs; who does not end then is killed."""
        self._expected.update(self._processes)
        for process in self._processes.values():
            stdin_of(process).close()
        if self._readers:
            _, late = await asyncio.wait(self._readers, timeout=PATIENCE)
            if late:
                for process in self._processes.values():
                    if process.returncode is None:
                        process.kill()
                await asyncio.wait(late)

    async def _tell(self, number: int, line: str) -> None:
        stdin = stdin_of(self._processes[number])
        stdin.write(line.encode() + b"\n")
        with suppress(BrokenPipeError, ConnectionResetError):  # its reader sees that it is gone, and says so
            await stdin.drain()

    async def _read(self, number: int, process: asyncio.subprocess.Process) -> None:
        complaints = asyncio.create_task(lines_of(process.stderr).read())
        async for line in lines_of(process.stdout):
            if line.endswith(b"\n"):  # the last one of a killed process may be cut
                self._report(decode(line))
        code = await process.wait()
        said = (await complaints).decode(errors="replace").strip().splitlines()
        if number not in self._expected:
            self._report(Failed(number, said[-1] if said else f"ended with code {code}"))


def stdin_of(process: asyncio.subprocess.Process) -> asyncio.StreamWriter:
    """The pipe that it was started with."""
    if process.stdin is None:
        raise RuntimeError("started without a pipe")
    return process.stdin


def lines_of(pipe: asyncio.StreamReader | None) -> asyncio.StreamReader:
    """The same for its outputs."""
    if pipe is None:
        raise RuntimeError("started without a pipe")
    return pipe
