"""A way to the server that breaks when told to: at once, or with the next bytes of one direction, which are lost."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

BOX = re.compile(rb"\S*:mailbox:[0-9a-f]{24}")
AT_ONCE, REQUEST, REPLY = "at once", "request", "reply"
NO_LINGER = struct.pack("ii", 1, 0)

Told = Callable[[str, str], None]


class Door:
    """The port of one worker. ``told(kind, box)`` hears, before it happens, of a ``reset`` and of a ``box``: a
    subscription that is asked for."""

    def __init__(self, port: int, told: Told) -> None:
        self._upstream = port
        self.told = told
        self.port = 0
        self.flows = asyncio.Event()
        """Cleared, nothing passes; what is sent meanwhile passes later."""
        self.flows.set()
        self.delay = 0.0
        """Seconds that everything takes longer, in each direction."""
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut all, and listen no more."""
        self.flows.set()
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.end(hard=True)
        while self._links:
            await asyncio.wait({link.task for link in self._links})

    def reset(self, chance: random.Random) -> None:
        """Break one connection, if there is one."""
        if self._links:
            link = chance.choice(sorted(self._links, key=lambda link: link.number))
            link.breaks(chance.choice([AT_ONCE, REQUEST, REPLY]), hard=chance.random() < 0.5)

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run(self._upstream)
        finally:
            self._links.discard(link)


class Link:
    """One connection."""

    count = 0

    def __init__(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        Link.count += 1
        self.number = Link.count
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._door, self._reader, self._writer = door, reader, writer
        self._up: asyncio.StreamWriter | None = None
        self._box = ""
        self._breaks_with, self._hard = "", False

    async def run(self, port: int) -> None:
        """Until either side ends it."""
        try:
            reader, self._up = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            self.end(hard=True)
            return
        sides = [
            asyncio.create_task(self._carry(self._reader, self._up, REQUEST)),
            asyncio.create_task(self._carry(reader, self._writer, REPLY)),
        ]
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        self.end(hard=False)
        await asyncio.wait(sides)
        for writer in (self._writer, self._up):
            with suppress(OSError):
                await writer.wait_closed()

    def breaks(self, when: str, *, hard: bool) -> None:
        """Now, or with the next bytes; ``hard`` is with RST."""
        self._breaks_with, self._hard = when, hard
        if when == AT_ONCE:
            self._break()

    def end(self, *, hard: bool) -> None:
        """Close both sides."""
        for writer in filter(None, (self._writer, self._up)):
            if hard:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                writer.transport.abort()
            else:
                writer.close()

    def _break(self) -> None:
        self._door.told("reset", self._box)
        self.end(hard=self._hard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._door.flows.wait()
                if self._door.delay:
                    await asyncio.sleep(self._door.delay)
                if self._breaks_with == direction:
                    self._break()
                    return
                if direction == REQUEST and (box := BOX.search(data)) and b"SUBSCRIBE" in data:
                    self._box = box[0].decode()
                    self._door.told("box", self._box)
                writer.write(data)
                await writer.drain()
