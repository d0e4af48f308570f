"""Who asks: keep-alive connections in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

TENANTS = 20
DEVICES = 500
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Story:
    """What became of some requests: the answers by tenant and status, and how long each took."""

    seconds: float
    answers: Counter[tuple[str, int]]
    took_ms: list[float]

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.took_ms) / self.seconds


class Client:
    """The crew of :class:`benchmarks.processes.Processes`."""

    def __init__(self, _url: str, _shared: Any) -> None:
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """At its end."""
        self._runner.close()

    def drive(self, ports: Sequence[int], at_once: int, many: int) -> Story:
        """So many events, each a new one, of all tenants in turn, by ``at_once`` connections to the ports in turn."""
        return self._runner.run(self._drive(ports, at_once, list(requests(many))))

    async def _drive(self, ports: Sequence[int], at_once: int, waiting: list[tuple[str, bytes]]) -> Story:
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(Connection, "127.0.0.1", ports[number % len(ports)])
            for number in range(at_once)
        ]
        answers: Counter[tuple[str, int]] = Counter()
        took_ms = []

        async def ask(connection: Connection) -> None:
            while waiting:
                tenant, request = waiting.pop()
                began = time.perf_counter()
                answers[tenant, await connection.ask(request)] += 1
                took_ms.append(1000 * (time.perf_counter() - began))

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _, connection in made:
                group.create_task(ask(connection))
        seconds = time.perf_counter() - began
        for transport, _ in made:
            transport.close()
        return Story(seconds, answers, took_ms)


class Connection(asyncio.Protocol):
    """One request at a time."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._answer: asyncio.Future[int] | None = None

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """The status of the answer."""
        self._read = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, ended, body = self._read.partition(b"\r\n\r\n")
        length = LENGTH.search(head) if ended else None
        if length and len(body) >= int(length[1]) and self._answer:
            self._answer.set_result(int(head.split(b" ", 2)[1]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the replica has hung up"))


def requests(many: int) -> Iterator[tuple[str, bytes]]:
    """A tenant and an event of it that was never sent before; harmless payments of devices that are known a little."""
    run, now = secrets.token_hex(6), datetime.now(UTC).isoformat()
    for number in range(many):
        tenant = f"tenant-{number % TENANTS}"
        body = json.dumps(
            {
                "event_id": f"{run}-{number}", "amount": "42.50", "country": "SE",
                "merchant": f"merchant-{number % 50}", "device": f"device-{number % DEVICES}", "timestamp": now,
            }
        ).encode()  # fmt: skip
        head = (
            f"POST /events HTTP/1.1\r\nHost: risk\r\nX-Tenant: {tenant}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        yield tenant, head.encode() + body
