"""How long this machine, or the server on it, slept at the worst while a test ran."""

from __future__ import annotations

import threading
import time
from typing import Any


class Canary:
    """A thread that asks the server for a sign of life, again and again; ``worst`` is its longest gap, in seconds."""

    def __init__(self, client: Any) -> None:
        self.worst = 0.0
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(0.005):
            self._client.ping()
            now = time.monotonic()
            self.worst, last = max(self.worst, now - last), now

    def __enter__(self) -> Canary:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
