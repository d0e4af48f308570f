"""The README's code runs as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from riskscale.testing import ServerProcess

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def ran(example: str, server: ServerProcess) -> str:
    """What it printed."""
    env = {**os.environ, "REDIS_URL": server.url}
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_and_the_command_line_count_in_one_window(scratch_server: ServerProcess) -> None:
    (example,) = blocks("python")
    assert ran(example, scratch_server).startswith("True 99\n")

    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is None:
        pytest.skip("neither redis-cli nor valkey-cli is on the PATH")
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("redis-cli")]
    limit, lock = (
        subprocess.run(
            line.replace("redis-cli", f"{program} -u {scratch_server.url}", 1),
            shell=True, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        ).stdout.split()
        for line in lines
    )  # fmt: skip
    assert limit[1:3] == ["0", "98"], "not the window of the Python example"
    assert lock[0] == "1"


def test_the_example_of_the_locks(scratch_server: ServerProcess) -> None:
    (example,) = blocks("python", (ROOT / "docs" / "locks.md").read_text())
    said = ran(example, scratch_server)
    assert "account:9" in said and said.splitlines()[-1].startswith("leader, term ")


def test_the_example_of_the_limits(scratch_server: ServerProcess) -> None:
    example, *_ = blocks("python", (ROOT / "docs" / "limits.md").read_text())
    assert ran(example, scratch_server) == """True False\nb'"api-60s";r=99;t=60'\n"""


def test_the_example_of_the_breakers(scratch_server: ServerProcess) -> None:
    (example,) = blocks("python", (ROOT / "docs" / "breakers.md").read_text())
    assert ran(example, scratch_server) == "open failure_rate 10\npayments True\n"


def test_the_example_of_the_bulkheads(scratch_server: ServerProcess) -> None:
    (example,) = blocks("python", (ROOT / "docs" / "bulkheads.md").read_text())
    assert ran(example, scratch_server) == "10 answers\nrefused: Bulkhead: max concurrent and queue full\n1 of 2\n"


def test_the_examples_of_scaling(scratch_server: ServerProcess) -> None:
    together, alone = blocks("python", (ROOT / "docs" / "scaling.md").read_text())
    assert ran(together, scratch_server) == "scale_up because request_latency_p99_ms 696.32 >= 500\n"
    assert ran(alone, scratch_server) == "15 15 cpu_usage_pct\n15 5 stabilization\n"


def test_the_example_of_partitions(scratch_server: ServerProcess) -> None:
    (example,) = blocks("python", (ROOT / "docs" / "partitions.md").read_text())
    said = ran(example, scratch_server).splitlines()
    assert sorted(said) == sorted(["assigned 64", "2 10.0.0.7:8080 True", "True", "revoked 64"])


def test_the_example_of_leases(scratch_server: ServerProcess) -> None:
    limits = blocks("python", (ROOT / "docs" / "limits.md").read_text())
    (example,) = (each for each in limits if "LeasedRateLimiter" in each)
    assert ran(example, scratch_server) == "10000 90000\n"


def test_the_example_of_flask_limiter(scratch_server: ServerProcess) -> None:
    (example,) = blocks("python", (ROOT / "docs" / "integrations.md").read_text())
    assert ran(example, scratch_server) == "[200, 200, 429]\n"


def test_the_example_of_reservations(scratch_server: ServerProcess) -> None:
    limits = blocks("python", (ROOT / "docs" / "limits.md").read_text())
    (example,) = (each for each in limits if "reserve(" in each)
    assert ran(example, scratch_server) == "HELLO\nTrue\n"


def test_the_example_of_several_limiters(scratch_server: ServerProcess) -> None:
    limits = blocks("python", (ROOT / "docs" / "limits.md").read_text())
    (example,) = (each for each in limits if "MultiRateLimiter" in each)
    assert ran(example, scratch_server) == "True tenant 0\nFalse plan gold 5/s\n3\n"


@pytest.mark.parametrize("path", re.findall(r"`(tests/[\w/.]+)`", README))
def test_what_shows_a_promise_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert all((page.parent / link).exists() for link in re.findall(r"\]\(([\w/.]+)\)", page.read_text())), page
