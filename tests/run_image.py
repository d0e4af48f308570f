"""`make example-image`: the risk engine's image is built, run as the manifests run it, used, and told to end.

docker or podman, whichever is on the PATH. The container is on the host's network (Linux), its port on loopback, and
its server is a process that this starts. RISKSCALE_BASE=image is another base than the Dockerfile's.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx

from riskscale.testing import ServerProcess, free_port
from tests.run_on_server import end_on_sigterm

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "examples" / "risk_engine" / "deploy" / "Dockerfile"
IMAGE = "risk-engine:tried"
BUILD_SECONDS, START_SECONDS, GRACE_SECONDS = 900, 60, 40
AS_DEPLOYED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def answers(program: str) -> bool:
    """Whether there is such an engine."""
    if not shutil.which(program):
        return False
    return subprocess.run([program, "version"], capture_output=True, check=False, timeout=60).returncode == 0


def said(*words: str, timeout: float = 60) -> str:
    """What the command printed; it must not fail."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=timeout).stdout.strip()


def build(program: str, base: str | None) -> None:
    """The image, from the checkout."""
    form = ["--format", "docker"] if program == "podman" else []  # the other form has no HEALTHCHECK
    arguments = ["--build-arg", f"BASE={base}"] if base else []
    words = [program, "build", *form, *arguments, "--file", str(DOCKERFILE), "--tag", IMAGE, str(ROOT)]
    subprocess.run(words, check=True, timeout=BUILD_SECONDS)


@contextmanager
def container(program: str, env: Mapping[str, str]) -> Iterator[str]:
    """Its name; what it logged, and its removal, at the end."""
    name = f"risk-engine-{uuid.uuid4().hex[:8]}"
    settings = [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    try:
        said(program, "run", "--detach", "--name", name, "--network", "host", *AS_DEPLOYED, *settings, IMAGE)
        yield name
    finally:
        subprocess.run([program, "logs", name], check=False, timeout=60)
        subprocess.run([program, "rm", "--force", name], check=False, timeout=60, stdout=subprocess.DEVNULL)


def ready(port: int) -> bool:
    """Whether it is to get requests."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def refuses(port: int) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait for it, within START_SECONDS."""
    deadline, pause = time.monotonic() + START_SECONDS, threading.Event()
    while not condition():
        expect(time.monotonic() < deadline, otherwise)
        pause.wait(0.05)


def send(port: int, event_id: str) -> HTTPConnection:
    """An event of acme is under way; the answer is still to be read."""
    event = {
        "event_id": event_id, "amount": "12.50", "country": "SE", "merchant": "bookshop", "device": "d-1",
        "timestamp": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/events", json.dumps(event), {"X-Tenant": "acme", "Content-Type": "application/json"})
    return connection


def answer(connection: HTTPConnection) -> dict[str, Any]:
    """The assessment."""
    response = connection.getresponse()
    body = response.read()
    connection.close()
    expect(response.status == 201, f"{response.status} {body!r}")
    return dict(json.loads(body))


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise SystemExit(f"example-image: {otherwise}")


def look_into(program: str, name: str) -> None:
    """Its probe passes without a shell; it is nobody in particular, and may write nowhere."""
    check = json.loads(said(program, "inspect", "--format", "{{json .Config.Healthcheck.Test}}", name))
    expect(check[0] == "CMD", f"the probe needs a shell: {check}")
    said(program, "exec", name, *check[1:])
    uid = said(program, "exec", name, "python", "-c", "import os; print(os.getuid())")
    expect(uid != "0", "it runs as root")
    touched = subprocess.run(
        [program, "exec", name, "python", "-c", "open('/app/here', 'w')"], check=False, capture_output=True, timeout=60
    )
    expect(touched.returncode != 0, "it may write below /app")
    print(f"healthy, as user {uid}, which may write nowhere")


def end(program: str, name: str, port: int, server: ServerProcess) -> None:
    """SIGTERM while an event waits for a server that stands still: the event is answered, and then the process ends."""
    server.pause()
    waiting = send(port, "e-2")
    httpx.get(f"http://127.0.0.1:{port}/health/live")  # so what came before this has been read, too
    said(program, "kill", "--signal", "TERM", name)
    until(lambda: refuses(port), "SIGTERM did not close the listener")
    server.resume()
    print("answered after SIGTERM", answer(waiting))
    status = said(program, "wait", name, timeout=GRACE_SECONDS)
    expect(status == "0", f"its exit status is {status}")
    print("exit status 0")


def refuses_to_start(program: str, name: str, *env: str) -> None:
    """A setting that is wrong, or missing, is named in one line."""
    words = [program, "run", "--rm", "--network", "host", *(word for each in env for word in ("--env", each)), IMAGE]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    last = done.stderr.strip().splitlines()[-1]  # the engine may have warned before
    told = "Traceback" not in done.stderr and last.startswith(f"risk_engine: {name}: ")
    expect(done.returncode == 2 and told, f"exit status {done.returncode}: {done.stderr}")
    print(f"exit status 2, {last}")


def try_it(program: str, server: ServerProcess) -> None:
    """Start, use, look after, end."""
    port = free_port()
    env = {"RISK_REDIS_URL": server.url, "RISK_HOST": "127.0.0.1", "RISK_PORT": str(port)}
    with container(program, env) as name:
        until(lambda: ready(port), "it is not ready")
        assessed = answer(send(port, "e-1"))
        found = httpx.get(f"http://127.0.0.1:{port}/events/e-1", headers={"X-Tenant": "acme"}).json()
        expect(assessed == found, f"{assessed} was assessed, {found} is found")
        print("assessed", assessed)
        look_into(program, name)
        end(program, name, port, server)
    refuses_to_start(program, "RISK_RATE_LIMIT", "RISK_RATE_LIMIT=often")
    refuses_to_start(program, "RISK_REDIS_URL")


def main() -> int:
    end_on_sigterm()
    program = next(filter(answers, ("docker", "podman")), None)
    if program is None:
        raise SystemExit("example-image: neither docker nor podman answers")
    build(program, os.environ.get("RISKSCALE_BASE"))
    with ServerProcess() as server:
        try_it(program, server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
