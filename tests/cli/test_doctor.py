"""``riskscale doctor``: verdicts are pure and tested as such; then the whole on servers of several kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from riskscale.cli import checks
from riskscale.cli.checks import Finding
from riskscale.testing import ServerProcess
from tests.backends import ServerBackend
from tests.cli.command import json_line, url_of


@pytest.mark.parametrize(
    ("server", "verdict", "seen"),
    [
        ({"redis_version": "6.2.5"}, "ok", "Redis 6.2.5"),
        ({"redis_version": "8.2.3"}, "ok", "Redis 8.2.3"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok", "Valkey 9.1.2"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.9"}, "warn", "Valkey 7.2.9"),
        ({"redis_version": "6.0.16"}, "fail", "Redis 6.0.16"),
        ({"redis_version": "12.0.0"}, "warn", "Redis 12.0.0"),
        ({}, "unknown", "it does not say what it is"),
    ],
)
def test_server(server: dict[str, Any], verdict: str, seen: str) -> None:
    finding = checks.judge_server(server)
    assert (finding.verdict, finding.seen) == (verdict, seen)


def test_round_trip() -> None:
    assert checks.judge_round_trip([0.0001, 0.0002, 5.0]).verdict == "ok"
    assert checks.judge_round_trip([0.02, 0.02, 0.0001]).verdict == "warn"


@pytest.mark.parametrize(
    ("policy", "maxmemory", "verdict"),
    [
        ("noeviction", 0, "ok"),
        ("noeviction", 10**6, "ok"),
        ("allkeys-lru", 10**6, "fail"),
        ("volatile-ttl", 10**6, "fail"),
        ("allkeys-lru", 0, "warn"),
        ("", 0, "unknown"),
    ],
)
def test_eviction(policy: str, maxmemory: int, verdict: str) -> None:
    assert checks.judge_eviction({"maxmemory_policy": policy, "maxmemory": maxmemory}).verdict == verdict


@pytest.mark.parametrize(
    ("persistence", "snapshots", "verdict", "seen"),
    [
        ({"aof_enabled": 1, "aof_last_write_status": "ok"}, False, "ok", "AOF"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, False, "fail", "AOF, but its last write failed"),
        ({"aof_enabled": 0, "rdb_last_bgsave_status": "err"}, True, "warn", "the last snapshot failed"),
        ({"aof_enabled": 0}, True, "warn", "snapshots, no AOF"),
        ({"aof_enabled": 0}, False, "warn", "none"),
        ({"aof_enabled": 0}, None, "warn", "no AOF; snapshots not told"),
    ],
)
def test_persistence(persistence: dict[str, Any], snapshots: bool | None, verdict: str, seen: str) -> None:
    finding = checks.judge_persistence(persistence, snapshots)
    assert (finding.verdict, finding.seen) == (verdict, seen)


def test_replicas() -> None:
    online, lagging = {"state": "online"}, {"state": "wait_bgsave"}
    assert checks.judge_replicas({"role": "slave", "master_link_status": "up"}).verdict == "fail"
    assert checks.judge_replicas({"role": "master", "connected_slaves": 0}).verdict == "ok"
    assert checks.judge_replicas({"role": "master", "connected_slaves": 1, "slave0": online}).verdict == "ok"
    two = {"role": "master", "connected_slaves": 2, "slave0": online, "slave1": lagging}
    assert checks.judge_replicas(two).verdict == "warn"


def test_cluster() -> None:
    assert checks.judge_cluster({"cluster_enabled": 0}, None) == Finding("cluster", "ok", "no")
    assert checks.judge_cluster({"cluster_enabled": 1}, "ok").verdict == "ok"
    assert checks.judge_cluster({"cluster_enabled": 1}, "fail").verdict == "fail"


def verdicts(result: Any) -> dict[str, str]:
    return {check["check"]: check["verdict"] for check in result["checks"]}


@pytest.mark.server
@pytest.mark.owns_server
def test_a_fresh_server(run: Callable[..., Any], scratch_server: ServerProcess) -> None:
    code, out, err = run("doctor", "--redis", scratch_server.url, "--json")
    result = json_line(out)
    assert (code, err, result["ok"], result["server"]) == (0, "", True, scratch_server.url)
    assert verdicts(result) == dict.fromkeys(verdicts(result), "ok") | {"persistence": "warn"}
    with redis.Redis.from_url(scratch_server.url) as client:
        assert not client.dbsize()
    table = run("doctor", "--redis", scratch_server.url).out
    assert "appendonly" in table


@pytest.mark.server
@pytest.mark.owns_server
def test_a_server_that_evicts(run: Callable[..., Any]) -> None:
    with ServerProcess(args=("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")) as server:
        code, out, _ = run("doctor", "--redis", server.url, "--json")
    assert (code, verdicts(json_line(out))["eviction"]) == (1, "fail")


@pytest.mark.server
@pytest.mark.owns_server
def test_a_cluster(run: Callable[..., Any]) -> None:
    with ServerProcess(args=("--cluster-enabled", "yes")) as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            pass
        code, out, _ = run("doctor", "--redis", server.url, "--json")
        assert (code, verdicts(json_line(out))["cluster"], verdicts(json_line(out))["scripts and ACL"]) == (
            0,
            "ok",
            "ok",
        )
        assert run("scripts", "load", "--redis", server.url).code == 0
        assert run("scripts", "verify", "--redis", server.url).code == 0


@pytest.mark.server
@pytest.mark.owns_server
def test_the_smallest_user_is_enough(run: Callable[..., Any], backend: ServerBackend, prefix: str) -> None:
    code, out, err = run("doctor", "--redis", url_of(backend), "--key-prefix", prefix, "--json")
    found = verdicts(json_line(out))
    assert (code, err) == (0, "")
    assert {found[name] for name in ("round trip", "time in scripts", "scripts and ACL")} == {"ok"}
    assert {found[name] for name in ("server", "eviction", "persistence", "replicas", "cluster")} == {"unknown"}


@pytest.mark.server
@pytest.mark.owns_server
def test_a_user_who_may_too_little(run: Callable[..., Any], scratch_server: ServerProcess) -> None:
    url = scratch_server.url.replace("//", "//weak:pass@")
    with redis.Redis.from_url(scratch_server.url) as client:
        client.execute_command("ACL", "SETUSER", "weak", "reset", "on", ">pass", "~*", "+@all", "-zadd", "-setrange")
        code, out, _ = run("doctor", "--redis", url, "--json")
        assert (code, verdicts(json_line(out))["scripts and ACL"]) == (1, "fail")
        client.execute_command("ACL", "SETUSER", "weak", "-time")
        code, out, _ = run("doctor", "--redis", url, "--json")
        assert (code, verdicts(json_line(out))["time in scripts"]) == (1, "fail")
    assert "scripts acl" in out
    assert "pass@" not in out
