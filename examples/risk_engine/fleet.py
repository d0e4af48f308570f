"""``python -m risk_engine.fleet``: a server, some replicas as processes of their own, and a small load."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx

from risk_engine.driver import ATTEMPTS, Driver, Tally
from riskscale.testing import ServerProcess, free_port

EXAMPLES = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
STOP_SECONDS = 20.0


class Replica:
    """One process of the service, on loopback. Only the process that was started here is signalled."""

    def __init__(self, name: str, env: Mapping[str, str], module: str = "risk_engine", path: Path = EXAMPLES) -> None:
        self.name, self.port = name, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {"RISK_REPLICA": name, "RISK_PORT": str(self.port), "PYTHONPATH": f"{EXAMPLES}{os.pathsep}{path}"}
        self._module, self._env = module, {**os.environ, **env, **own}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> Replica:
        """Start it; it is not ready yet."""
        self._process = subprocess.Popen([sys.executable, "-m", self._module], env=self._env)  # noqa: S603
        return self

    def wait_until_ready(self) -> None:
        """RuntimeError where it ends, or is not ready in time."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process and self._process.returncode}")
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} was not ready within {START_SECONDS:g} s")

    def signal(self, number: int) -> None:
        """Such as SIGKILL."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """Let it drain; its exit status. Killed where it does not end."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()


@contextmanager
def fleet(redis_url: str, replicas: int, env: Mapping[str, str] | None = None) -> Iterator[list[Replica]]:
    """So many replicas on one server, all ready."""
    with ExitStack() as stack:
        shared = {"RISK_REDIS_URL": redis_url, "RISK_REPLICAS": str(replicas), **(env or {})}
        started = []
        for number in range(1, replicas + 1):
            replica = Replica(f"replica-{number}", shared).start()
            stack.callback(replica.stop)
            started.append(replica)
        for replica in started:
            replica.wait_until_ready()
        yield started


def payment(number: int, random: Random) -> dict[str, Any]:
    """Made up, mostly harmless."""
    return {
        "event_id": f"e-{number}",
        "amount": f"{random.lognormvariate(3.5, 1.2):.2f}",
        "country": random.choice(("SE", "SE", "SE", "DE", "JP")),
        "merchant": f"merchant-{random.randrange(50)}",
        "device": f"device-{random.randrange(200)}",
        "timestamp": datetime.now(UTC).isoformat(),
    }


async def load(urls: Sequence[str], tenants: int, events: int, at_once: int) -> Tally:
    """So many events of each tenant, ``at_once`` under way altogether."""
    random = Random(7)  # noqa: S311 - the same load in each run
    waiting = iter([(f"tenant-{t}", payment(n, random)) for n in range(events) for t in range(tenants)])

    async def worker(driver: Driver) -> None:
        for tenant, event in waiting:
            await driver.send(tenant, event)

    async with Driver(urls, attempts=ATTEMPTS) as driver, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker(driver))
    return driver.tally


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--tenants", type=int, default=5)
    parser.add_argument("--events", type=int, default=200, help="of each tenant")
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--stay", action="store_true", help="leave it running until Ctrl-C")
    args = parser.parse_args()
    for name in ("replicas", "tenants", "events", "at_once"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more")
    with ServerProcess() as server, fleet(server.url, args.replicas) as replicas:
        urls = [each.url for each in replicas]
        print(f"server {server.url}", *urls, sep="\n")
        tally = asyncio.run(load(urls, args.tenants, args.events, args.at_once))
        print(*tally.lines(), sep="\n")
        if args.stay:
            print("running until Ctrl-C")
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 1 if tally.strangers else 0


if __name__ == "__main__":
    sys.exit(main())
