"""``riskscale breakers`` on a cluster: all nodes are asked, and what one publishes is heard of any."""

from __future__ import annotations

import signal
from typing import Any

import redis

from riskscale.cli.app import run
from tests.cli.command import json_line, start

NAMES = [f"breaker-{number}" for number in range(8)]


def test_breakers(cluster: int, capsys: Any) -> None:
    url = ("--redis", f"redis://127.0.0.1:{cluster}", "--key-prefix", "people:")

    def command(*words: str) -> tuple[int, str]:
        return run(["breakers", *words, *url]), capsys.readouterr().out

    with start("breakers", "watch", *url) as watch:
        assert watch.stderr and watch.stdout and watch.stderr.readline().startswith(b"riskscale: listening")
        for name in NAMES:
            assert command("open", name, "--for", "90s", "--reason", "r", "--new")[0] == 0
        told = [watch.stdout.readline().decode() for _ in NAMES]
        assert sorted(line.partition(":")[0] for line in told) == NAMES
        assert command("close", NAMES[3])[0] == 0
        assert "open -> closed" in watch.stdout.readline().decode()
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 130
    code, out = command("list", "--json")
    found = {each["name"]: each["state"] for each in json_line(out)["breakers"]}
    assert code == 0 and found == {name: "closed" if name == NAMES[3] else "open" for name in NAMES}
    nodes = _nodes(cluster)
    assert len(nodes) == 2 and all(nodes.values()), "not on both nodes"


def _nodes(port: int) -> dict[str, int]:
    """How many breakers each node has."""
    with redis.cluster.RedisCluster(host="127.0.0.1", port=port) as client:
        return {
            node.name: len(list(client.scan_iter("people:rs1:*:breaker", target_nodes=node)))
            for node in client.get_primaries()
        }


def test_functions(cluster: int, capsys: Any) -> None:
    """They are loaded on every primary, so a call may go to any."""
    url = ("--redis", f"redis://127.0.0.1:{cluster}")
    with redis.RedisCluster(host="127.0.0.1", port=cluster) as client:
        if int(client.info("server", target_nodes=client.get_random_node())["redis_version"].split(".")[0]) < 7:
            assert run(["functions", "load", *url]) == 2 and "has no Functions" in capsys.readouterr().err
            return
        assert run(["functions", "diff", *url]) == 1
        assert run(["functions", "load", *url]) == 0
        assert capsys.readouterr().out.count("functions, loaded") == 2
        assert run(["functions", "diff", *url]) == 0
        for number in range(8):
            key = f"rs1:{{{number}}}:rate:api:60s:gcra"
            reply = client.execute_command("FCALL", "rs_rate_gcra", 1, key, 100, 60_000_000, 100, 1, 1, "")
            assert reply.split()[1:3] == [b"0", b"99"]
