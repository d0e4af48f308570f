"""`make test-redis` reads compose.yaml without a YAML parser: it must be able to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import run_on_server

COMPOSE = (run_on_server.ROOT / "compose.yaml").read_text()


def test_the_image_and_the_command_are_those_of_the_compose_file() -> None:
    image, command = run_on_server.image_and_command(COMPOSE, {})
    assert image == "redis:8"
    assert command[:3] == ["redis-server", "--save", ""]
    assert run_on_server.image_and_command(COMPOSE, {"RISKSCALE_IMAGE": "valkey/valkey:9"})[0] == "valkey/valkey:9"
    assert run_on_server.image_and_command("    image: a/b:1\n    command: []\n", {}) == ("a/b:1", [])


def test_a_compose_file_it_cannot_read_is_an_error() -> None:
    with pytest.raises(SystemExit, match=r"compose\.yaml"):
        run_on_server.image_and_command("services: {}", {})


@pytest.mark.server
def test_without_an_engine_it_takes_a_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not answer is none; the suite then starts a server, and stops it."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("REDIS_URL", "")
    command = [sys.executable, run_on_server.__file__, "tests/testing/test_backends.py", "-k", "both_hubs"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "test-redis: on the binary " in ran.stdout
    assert "1 passed" in ran.stdout
