"""`make test-redis`: the suite on a live server; what this started, it stops, also after a failure.

`$REDIS_URL`, if set; else the container of `compose.yaml`, when a Docker engine answers; else a server binary. The
container gets a bridge, and one port on loopback; where an engine has no bridge, RISKSCALE_NETWORK=host.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis

from riskscale.testing import ServerProcess, free_port

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 60


def has_engine() -> bool:
    """Whether a Docker engine (or another that speaks its language) answers."""
    if not shutil.which("docker"):
        return False
    asked = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False)
    return asked.returncode == 0


def image_and_command(compose: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """What `compose.yaml` says, read without a YAML parser or the compose plug-in, which engines may lack."""
    image = re.search(r"^    image: (?:\$\{(\w+):-)?([^}\s]+)\}?$", compose, re.M)
    command = re.search(r"^    command: (\[.*\])$", compose, re.M)
    if not image or not command:
        raise SystemExit("compose.yaml: no image, or no command on one line")
    return (environment.get(image[1] or "") or image[2]), json.loads(command[1])


@contextmanager
def container(environment: Mapping[str, str]) -> Iterator[str]:
    """The URL of a server in a container, which is removed afterwards."""
    image, command = image_and_command((ROOT / "compose.yaml").read_text(), environment)
    port, network = free_port(), environment.get("RISKSCALE_NETWORK", "bridge")
    reach = ["--bind", "127.0.0.1"] if network == "host" else []
    publish = [] if network == "host" else ["--publish", f"127.0.0.1:{port}:{port}"]
    words = ["docker", "run", "--detach", "--network", network, *publish, image, *command, "--port", str(port), *reach]
    started = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    try:
        url = f"redis://127.0.0.1:{port}/0"
        wait_for(url, started)
        yield url
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", started], check=True, stdout=subprocess.DEVNULL)


def wait_for(url: str, started: str) -> None:
    """Until it answers PING; the container's log where it does not."""
    deadline, pause = time.monotonic() + START_TIMEOUT, threading.Event()
    with redis.Redis.from_url(url, retry=None) as client:
        while time.monotonic() < deadline:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                pause.wait(0.05)
    subprocess.run(["docker", "logs", started], check=False)
    raise SystemExit(f"the container gave no answer within {START_TIMEOUT} s")


def run_suite(origin: str, url: str | None) -> int:
    """The suite on somebody else's server, or (None) on one that its own fixtures start and stop."""
    print(f"test-redis: on {origin}", flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    if url:
        environment["REDIS_URL"] = url  # never "": libraries that are measured beside read it too
    command = [sys.executable, "-m", "pytest", "-q", "--backend", "server", *sys.argv[1:]]
    return run_pytest(command, environment)


def run_pytest(command: list[str], environment: Mapping[str, str]) -> int:
    """Its exit code. Told to end, it is told too, and waited for: it has servers of its own to stop."""
    with subprocess.Popen(command, cwd=ROOT, env=environment) as child:
        try:
            return child.wait()
        except SystemExit:
            child.terminate()
            raise


def end_on_sigterm() -> None:
    """By an exception, so that `finally` and `with` are kept."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main() -> int:
    end_on_sigterm()
    if os.environ.get("REDIS_URL"):
        return run_suite("$REDIS_URL", os.environ["REDIS_URL"])
    if has_engine():
        with container(os.environ) as url:
            return run_suite(f"a container, {url}", url)
    return run_suite(f"the binary {ServerProcess().binary}", None)


if __name__ == "__main__":
    sys.exit(main())
