"""Checks of other servers: against PostgreSQL, over AMQP and over HTTP, while they answer and while they do not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aio_pika
import asyncpg
import httpx
import psycopg_pool
import pytest

import riskscale.sync
from riskscale import ArgumentError, HealthMonitor, HealthStatus
from riskscale.health import http, postgresql, rabbitmq
from tests.health import servers

PASS, FAIL = HealthStatus.PASS, HealthStatus.FAIL


HASTY = 0.2
LATE = "no answer within 0.2 s"


class Monitored:
    """A monitor of one check, asked anew each time."""

    def __init__(self, check: Any, timeout: float = 60) -> None:
        self._monitor = HealthMonitor(cache_seconds=0)
        self._monitor.add_check("it", check, timeout=timeout)

    async def passes(self) -> bool:
        return (await self._monitor.system_health()).status is HealthStatus.PASS

    async def says(self) -> str:
        """Why it fails; never with the secret of a DSN."""
        report = await self._monitor.system_health()
        assert report.http_status == 503 and b"hunter2" not in report.as_json()
        return report.checks[0].output

    async def recovers(self) -> None:
        while not await self.passes():
            await asyncio.sleep(0.01)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def database() -> Iterator[servers.PostgreSQL]:
    with servers.postgresql() as server:
        yield server


async def the_database_stalls_and_dies(database: servers.PostgreSQL, check: Any, backend: int) -> None:
    db = Monitored(check)
    assert await db.passes()
    with stopped(backend):
        assert await Monitored(check, HASTY).says() == LATE
    await db.recovers()
    database.stop()
    assert await Monitored(check, 1).says()  # that it is refused; a pool of psycopg goes on trying
    database.start()
    await db.recovers()


async def test_a_pool_of_asyncpg(database: servers.PostgreSQL) -> None:
    async with asyncpg.create_pool(database.url, min_size=1, max_size=1) as pool:
        backend = await pool.fetchval("SELECT pg_backend_pid()")
        await the_database_stalls_and_dies(database, postgresql.check(pool), backend)
        async with pool.acquire():
            assert await Monitored(postgresql.check(pool), HASTY).says() == LATE, "all connections are in use"


async def test_a_pool_of_psycopg(database: servers.PostgreSQL) -> None:
    async with psycopg_pool.AsyncConnectionPool(database.url, min_size=1, max_size=1) as pool:
        async with pool.connection() as one:
            backend = one.info.backend_pid
        await the_database_stalls_and_dies(database, postgresql.check(pool), backend)
        async with pool.connection():
            assert await Monitored(postgresql.check(pool), HASTY).says() == LATE, "all connections are in use"


def test_a_blocking_pool_of_psycopg(database: servers.PostgreSQL) -> None:
    patient, hasty = riskscale.sync.HealthMonitor(), riskscale.sync.HealthMonitor()
    with psycopg_pool.ConnectionPool(database.url, min_size=1, max_size=1) as pool:
        patient.add_check("db", postgresql.check(pool))
        hasty.add_check("db", postgresql.check(pool), timeout=HASTY)
        assert patient.system_health().http_status == 200
        with pool.connection() as one:
            backend = one.info.backend_pid
        with stopped(backend):
            assert hasty.system_health().checks[0].output == LATE


@pytest.mark.parametrize("connect", [aio_pika.connect, aio_pika.connect_robust])
async def test_a_connection_of_aio_pika(connect: Any) -> None:
    with servers.broker() as broker:
        async with await connect(broker.url, reconnect_interval=0.02) as connection:
            mq = Monitored(rabbitmq.check(connection))
            assert await mq.passes() and await mq.passes()
            with stopped(broker.process.pid):
                assert await Monitored(rabbitmq.check(connection), HASTY).says() == LATE
            await mq.recovers()
            broker.stop()
            assert await mq.says()
            broker.start()
            if connect is aio_pika.connect_robust:
                await mq.recovers()


class Service(BaseHTTPRequestHandler):
    """Answers with the status that its path is; ``/stall`` never."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/stall":
            self.server.ended.wait(60)  # type: ignore[attr-defined]
            return
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.ended = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://user:hunter2@127.0.0.1:{server.server_port}"
        server.ended.set()  # type: ignore[attr-defined]
        server.shutdown()


async def test_a_client_of_httpx(service: str) -> None:
    async with httpx.AsyncClient(base_url=service) as client:
        assert await Monitored(http.check(client, "/200")).passes()
        assert await Monitored(http.check(client, f"{service}/301")).passes()
        assert await Monitored(http.check(client, "/503")).says() == "HTTP 503"
        assert await Monitored(http.check(client, "/404")).says() == "HTTP 404"
        assert await Monitored(http.check(client, "/stall"), HASTY).says() == LATE
        assert await Monitored(http.check(client, "http://127.0.0.1:1/")).says() == "ConnectError"


def test_a_blocking_client_of_httpx(service: str) -> None:
    monitor = riskscale.sync.HealthMonitor()
    with httpx.Client(base_url=service) as client:
        monitor.add_check("good", http.check(client, "/200"))
        monitor.add_check("bad", http.check(client, "/500"))
        assert [check.output for check in monitor.system_health().checks] == ["", "HTTP 500"]


def test_they_bring_no_driver_along() -> None:
    drivers = "asyncpg psycopg psycopg_pool aio_pika aiormq httpx"
    code = "import sys; from riskscale.health import http, postgresql, rabbitmq; "
    code += f"print([each for each in '{drivers}'.split() if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("make", "argument"),
    [(postgresql.check, "pool"), (rabbitmq.check, "connection"), (lambda it: http.check(it, "/"), "client")],
)
def test_what_is_no_such_client_is_refused(make: Callable[[Any], Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        make("postgres://admin:hunter2@db/prod")
    assert raised.value.argument == argument and "hunter2" not in str(raised.value)
