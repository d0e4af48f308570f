"""``run``: the command in this process; ``admin_hub``: what it looks at, by a user who may do everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import redis

from riskscale.cli.app import run as run_command
from riskscale.sync import Hub
from tests.backends import ServerBackend


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """``run("replay", path, ...)`` -> exit code, standard output, standard error."""

    def call(*words: object) -> Outcome:
        code = run_command([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def admin_hub(backend: ServerBackend, prefix: str) -> Iterator[Hub]:
    """A blocking hub on the test's keys."""
    client = redis.Redis.from_url(backend.url)
    with Hub(client, key_prefix=prefix) as hub:
        yield hub
    client.close()
