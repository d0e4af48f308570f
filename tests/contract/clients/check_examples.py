"""The examples as they are: services in Node, Go and Java, and a shell, share one limit and one lock."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import quote

import pytest
import redis

from riskscale._core.keys import base_key
from riskscale.testing import ServerProcess
from tests.contract.clients.toolchains import LANGUAGES, ROOT, tool

LIMIT = 10
SCRIPT = ROOT / "examples" / "shell" / "limited.sh"
TELLS = 'redis-cli -u "$REDIS_URL" TIME; redis-cli -u "$REDIS_URL" TIME; echo "$RISKSCALE_FENCE"'


class Service:
    """A running example."""

    def __init__(self, command: list[str], url: str) -> None:
        environment = {**os.environ, "REDIS_URL": url, "PORT": "0"}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        said = re.fullmatch(r"listening on (\d+)\n", self._process.stdout.readline())
        assert said
        self.port = int(said[1])

    def ask(self, method: str, path: str) -> tuple[int, str, dict[str, int]]:
        """The status, what Retry-After says, the body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.headers.get("Retry-After", ""), json.loads(response.read())
        finally:
            connection.close()

    def close(self) -> None:
        with self._process:
            self._process.kill()


@pytest.fixture(scope="module")
def services(command: Callable[[str, str], list[str]], server: ServerProcess) -> Iterator[list[Service]]:
    started: list[Service] = []
    try:
        started.extend(Service(command(language, "main"), server.url) for language in LANGUAGES)
        yield started
    finally:
        for each in started:
            each.close()


@pytest.fixture
def shell(server: ServerProcess) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``shell(tenant, job, command, ...)``: the script's end."""
    tool("redis-cli")
    environment = {**os.environ, "REDIS_URL": server.url}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = [str(SCRIPT), *words]
        return subprocess.run(done, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_one_quota(services: list[Service], shell: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert shell("tenant-7", "first", "true").returncode == 0
    turns = itertools.islice(itertools.cycle(services), LIMIT - 1)
    left = [service.ask("GET", "/work/tenant-7")[2]["remaining"] for service in turns]
    assert left[0] == LIMIT - 2 and left[-1] <= 1  # some may have come back meanwhile
    while services[0].ask("GET", "/work/tenant-7")[0] == 200:
        pass
    for service in services:
        status, retry_after, _ = service.ask("GET", "/work/tenant-7")
        assert status == 429 and 1 <= int(retry_after) <= 60
    refused = shell("tenant-7", "first", "true")
    assert refused.returncode == 75 and "no quota" in refused.stderr


def test_one_job_at_a_time(services: list[Service], shell: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    def by_http(service: Service) -> tuple[int, int, int]:
        status, _, body = service.ask("POST", "/jobs/nightly")
        assert status == 200, body
        return body["from_us"], body["to_us"], body["fence"]

    def by_shell(tenant: str) -> tuple[int, int, int]:
        done = shell(tenant, "nightly", "sh", "-c", TELLS)
        assert done.returncode == 0, done.stderr
        from_s, from_us, to_s, to_us, fence = map(int, done.stdout.split())
        return from_s * 10**6 + from_us, to_s * 10**6 + to_us, fence

    with ThreadPoolExecutor() as pool:
        by_services = pool.map(by_http, services * 3)
        runs = sorted([*pool.map(by_shell, ["tenant-8", "tenant-9"]), *by_services])
    assert len(runs) == 3 * len(services) + 2
    for (_, to_us, fence), (next_from_us, _, next_fence) in itertools.pairwise(runs):
        assert to_us <= next_from_us and fence < next_fence


def test_names_are_spelled_alike(services: list[Service], server: ServerProcess) -> None:
    name = "a b:{c}% é"
    for service in services:
        assert service.ask("GET", f"/work/{quote(name)}")[0] == 200
    with redis.Redis.from_url(server.url) as client:
        assert client.exists(f"{base_key('rs1', name, None)}:rate:api:60s:gcra")
        assert len(list(client.scan_iter("rs1:{a*"))) == 1


def test_the_shell_ends_as_its_command_and_lets_go(
    shell: Callable[..., subprocess.CompletedProcess[str]], server: ServerProcess
) -> None:
    assert shell("tenant-10", "fails", "sh", "-c", "exit 7").returncode == 7
    with redis.Redis.from_url(server.url) as client:
        assert client.hget("rs1:{fails}:lock", "owner") in (None, b"")
    for words in (("a b", "job", "true"), ("tenant-10", "{job}", "true"), ("", "job", "true")):
        done = shell(*words)
        assert done.returncode == 2 and "a name is of" in done.stderr
