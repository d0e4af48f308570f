"""Replicas as OS processes: started together, heard while they run, and judged when they have ended."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

PATIENCE = 60.0
Event = dict[str, Any]


@contextmanager
def replicas(many: int, *words: object, worker: str = "tests.faults._worker") -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready, and started at one moment; none outlives the block."""
    command = [sys.executable, "-m", worker, *map(str, words)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(many)
    ]
    try:
        for process in processes:
            assert process.stdout and process.stdin
            assert json.loads(process.stdout.readline()) == {"event": "ready"}
        for process in processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for stream in filter(None, (process.stdin, process.stdout)):
                with suppress(OSError):
                    stream.close()


def events(processes: list[subprocess.Popen[str]]) -> list[Event]:
    """What they said until they ended, each of them well."""
    found = []
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        found += [json.loads(line) for line in out.splitlines()]
    return found


class Listener:
    """Gathers what replicas say while they run; each event gets the ``replica`` that said it."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self.events: list[Event] = []
        self._processes = processes
        self._heard = threading.Condition()
        self._threads = [threading.Thread(target=self._listen, args=(number,)) for number in range(len(processes))]

    def __enter__(self) -> Listener:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()

    def _listen(self, number: int) -> None:
        stream = self._processes[number].stdout
        assert stream
        with stream:
            for line in stream:
                with self._heard:
                    self.events.append({**json.loads(line), "replica": number})
                    self._heard.notify_all()

    def wait_for(self, what: str, holds: Callable[[list[Event]], bool]) -> None:
        """Until it holds of all events so far."""
        give_up = time.monotonic() + PATIENCE
        with self._heard:
            while not holds(self.events):
                assert time.monotonic() < give_up, f"{what}: not within {PATIENCE:g} s"
                self._heard.wait(0.1)

    def until_they_end(self) -> list[Event]:
        """Close their standard inputs; what they said until they ended, each of them well."""
        for process in self._processes:
            assert process.stdin
            process.stdin.close()
        assert [process.wait(PATIENCE) for process in self._processes] == [0] * len(self._processes)
        for thread in self._threads:
            thread.join()
        return self.events


def url_of(backend: Any) -> str:
    login = f"{backend.login['username']}:{backend.login['password']}@" if backend.login else ""
    return str(backend.url).replace("redis://", f"redis://{login}")
