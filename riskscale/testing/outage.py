"""A server that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from riskscale.testing.server import ServerProcess


class Outage:
    """A switch: ``begin()``, ``end()``, or a ``with`` block for as long as the outage lasts. Both may be called twice.

    ``Outage.of_embedded(fake_server)``: its clients, blocking and asyncio, get ConnectionError at once.
    ``Outage.stalled(server)``: connections stay open and nothing answers, as behind a dead network; clients run into
    their time-outs. What was sent meanwhile is carried out when the outage ends.
    ``Outage.crashed(server)``: killed, so connections break and are refused; it comes back empty, on the same port.
    """

    def __init__(self, begin: Callable[[], object], end: Callable[[], object]) -> None:
        self._begin = begin
        self._end = end
        self.active = False

    @classmethod
    def of_embedded(cls, fake_server: Any) -> Outage:
        """For a ``fakeredis.FakeServer``."""
        return cls(lambda: setattr(fake_server, "connected", False), lambda: setattr(fake_server, "connected", True))

    @classmethod
    def stalled(cls, server: ServerProcess) -> Outage:
        """For a server process: SIGSTOP and SIGCONT."""
        return cls(server.pause, server.resume)

    @classmethod
    def crashed(cls, server: ServerProcess) -> Outage:
        """For a server process: SIGKILL and a new start."""
        return cls(server.kill, server.start)

    def begin(self) -> None:
        """From here on the server does not answer."""
        if not self.active:
            self._begin()
            self.active = True

    def end(self) -> None:
        """It answers again."""
        if self.active:
            self._end()
            self.active = False

    def __enter__(self) -> Outage:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
