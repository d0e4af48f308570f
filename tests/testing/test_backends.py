"""Our own conftest: both backends, the restricted user, the leak check, skips and servers of somebody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

import riskscale
import riskscale.sync
from riskscale.testing import ServerProcess
from tests.backends import Backend

ROOT = Path(__file__).resolve().parents[2]


def run_pytest(folder: Path, body: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A pytest of its own, with our conftest and configuration, on one module."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    (folder / "test_it.py").write_text(f"import pytest\n{body}")
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command += ["-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


async def test_both_hubs_work(hub: riskscale.Hub, sync_hub: riskscale.sync.Hub, raw_client: Any, prefix: str) -> None:
    limit = riskscale.Limit(5, per=60)
    assert await riskscale.RateLimiter(hub, limit, name="both").hit("tenant")
    decision = riskscale.sync.RateLimiter(sync_hub, limit, name="both").hit("tenant")
    assert decision.remaining == 3
    assert {key.startswith(prefix.encode()) for key in raw_client.scan_iter(f"{prefix}*")} == {True}


@pytest.mark.server
@pytest.mark.owns_server
def test_the_server_s_user_may_run_the_scripts_and_nothing_else(sync_client: Any, raw_client: Any, prefix: str) -> None:
    own = f"{prefix}rs1:{{a}}:x"
    assert sync_client.eval("return redis.call('SET', KEYS[1], '1', 'PX', 60000)", 1, own)
    refused: list[tuple[str, ...]] = [
        *[("GET", key) for key in ("somebody-else's", f"{prefix}other", f"x{own}")],
        *[("PUBLISH", "channel", "x"), ("SUBSCRIBE", "channel"), ("PSUBSCRIBE", "*"), ("LPUSH", own, "x")],
        *[("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("SHUTDOWN",)],
        *[("SCRIPT", "FLUSH"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("CLIENT", "KILL", "ID", "1")],
    ]
    for words in refused:
        with pytest.raises(redis.exceptions.NoPermissionError):
            sync_client.execute_command(*words)
    with pytest.raises(redis.exceptions.ResponseError):
        sync_client.eval("return redis.call('GET', KEYS[1])", 1, "somebody-else's")
    assert raw_client.get(own) == b"1"


@pytest.mark.embedded
def test_a_test_may_ask_for_one_backend(backend: Backend) -> None:
    assert backend.name == "embedded"


def test_a_leak_fails_its_test_and_is_cleaned(tmp_path: Path) -> None:
    body = "def test_leak(raw_client, prefix):\n    raw_client.set(prefix + 'leak', 1)\n"
    body += (
        "def test_next(raw_client, session_prefix):\n    assert not list(raw_client.scan_iter(session_prefix + '*'))\n"
    )
    result = run_pytest(tmp_path, body)
    assert result.returncode == 1
    assert "4 passed, 2 errors" in result.stdout
    assert "left without TTL: t" in result.stdout


@pytest.mark.parametrize(("chosen", "passed"), [("embedded", 2), ("server", 3), ("both", 4)])
def test_a_backend_can_be_chosen(tmp_path: Path, chosen: str, passed: int) -> None:
    body = "def test_both(backend): pass\ndef test_pure(): pass\n@pytest.mark.server\ndef test_server(): pass\n"
    result = run_pytest(tmp_path, body, "--backend", chosen)
    assert f"{passed} passed" in result.stdout


def test_a_skip_is_a_failure_where_none_is_wanted(tmp_path: Path) -> None:
    body = "def test_skips(): pytest.skip('no such thing here')\n"
    assert run_pytest(tmp_path, body, RISKSCALE_NO_SKIPS="").returncode == 0
    result = run_pytest(tmp_path, body, RISKSCALE_NO_SKIPS="1")
    assert result.returncode == 1
    assert "test_it.py::test_skips" in result.stdout.split("RISKSCALE_NO_SKIPS is set")[1]


@pytest.mark.server
def test_on_a_foreign_server_owners_tests_are_left_out_by_name(tmp_path: Path, scratch_server: ServerProcess) -> None:
    body = "@pytest.mark.owns_server\ndef test_flush(raw_client): raw_client.flushall()\n"
    body += "def test_other(raw_client): pass\n"
    result = run_pytest(tmp_path, body, REDIS_URL=scratch_server.url)
    assert result.returncode == 0
    assert "3 passed, 1 deselected" in result.stdout
    assert "test_it.py::test_flush[server]" in result.stdout.split("left out:")[1]


@pytest.mark.server
def test_a_session_told_to_end_stops_its_servers(tmp_path: Path) -> None:
    body = "import os, signal, pathlib\n"
    body += "def test_it(riskscale_server):\n"
    body += "    pathlib.Path('pid').write_text(str(riskscale_server.pid))\n"
    body += "    os.kill(os.getpid(), signal.SIGTERM)\n"
    assert run_pytest(tmp_path, body).returncode == pytest.ExitCode.INTERRUPTED
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
