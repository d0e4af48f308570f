"""One place in the fleet: a door to the server, and the worker that uses it, started anew when it was killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.history.proxy import Door
from tests.history.rounds import Settings

ROOT = Path(__file__).resolve().parents[2]


class Replica:
    """Number ``slot``; ``told(kind, worker, box)`` hears of what happens to its worker, before it does."""

    def __init__(self, slot: int, folder: Path, upstream: int, told: Callable[[str, str, str], None]) -> None:
        self.slot, self._folder, self._told = slot, folder, told
        self.door = Door(upstream, lambda kind, box: told(kind, self.name, box))
        self.names: list[str] = []
        self.stopped = self.restarting = False
        self._process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        """Of the worker of now."""
        return self.names[-1]

    async def start(self, settings: dict[str, Any]) -> None:
        """A new worker."""
        self.names.append(f"w{self.slot}.{len(self.names)}")
        made = Settings(
            port=self.door.port,
            journal=str(self._journal(self.name)),
            seed=f"{settings.pop('seed')}.{self.name}",
            threads=self.slot % 4 == 3,
            retries=3 * (self.slot % 2),
            timeout=0.3 if self.slot & 2 else None,
            **settings,
        )
        with (self._folder / f"{self.name}.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.history.worker", made.line()),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def stop(self) -> None:
        """SIGSTOP."""
        self._told("stop", self.name, "")
        self.stopped = True
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self.stopped = False
        self._told("cont", self.name, "")

    def stall(self) -> None:
        """Nothing passes between it and the server."""
        self._told("stall", self.name, "")
        self.stopped = True
        self.door.flows.clear()

    def flow(self) -> None:
        """Everything passes again."""
        self.door.flows.set()
        self.stopped = False
        self._told("flow", self.name, "")

    async def kill(self) -> None:
        """SIGKILL."""
        self._told("kill", self.name, "")
        self._signal(signal.SIGKILL)
        await self.ended()

    async def finish(self, within: float) -> str:
        """Tell it to end what it is at; what is wrong with how it did that, '' for nothing."""
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(b"stop\n")
            process.stdin.close()
            async with asyncio.timeout(within):
                code = await process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self.ended()
            return f"{self.name} did not end within {within:g} s"
        return "" if code == 0 else f"{self.name} ended with {code}\n{self.log()[-2000:]}"

    async def ended(self) -> None:
        """Wait for its process."""
        if self._process is not None:
            await self._process.wait()

    async def close(self) -> None:
        """Whatever happened, nothing of it is left."""
        if self._process is not None and self._process.returncode is None:
            self._signal(signal.SIGKILL)
        await self.ended()
        await self.door.close()

    def log(self) -> str:
        """What the worker of now said on its standard error."""
        return (self._folder / f"{self.name}.log").read_text(errors="replace")

    def journals(self) -> dict[str, list[dict[str, Any]]]:
        """Of all its workers."""
        return {name: read(self._journal(name)) for name in self.names}

    def lives(self) -> bool:
        """Whether its worker has given a sign of life."""
        path = self._journal(self.name)
        return path.exists() and path.stat().st_size > 0

    def _journal(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


def read(path: Path) -> list[dict[str, Any]]:
    """A journal; a last line that was cut short is none."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
