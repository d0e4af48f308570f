"""A cluster of two real servers, half of the slots each."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
import redis.asyncio.cluster

from riskscale import Hub
from riskscale.testing import ServerProcess

SLOTS = 16384
PATIENCE = 60.0


def join(nodes: list[redis.Redis], ports: list[int]) -> None:
    """Share out the slots, and wait until every node says that all of them are served."""
    each = SLOTS // len(nodes)
    for number, node in enumerate(nodes):
        node.execute_command("CLUSTER ADDSLOTS", *range(number * each, (number + 1) * each))
        node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
    for port in ports[1:]:
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", port)
    give_up = time.monotonic() + PATIENCE
    while not all(b"cluster_state:ok" in raw(node) and b"cluster_known_nodes:2" in raw(node) for node in nodes):
        assert time.monotonic() < give_up, [raw(node) for node in nodes]
        time.sleep(0.02)


def raw(node: redis.Redis) -> bytes:
    node.set_response_callback("CLUSTER INFO", lambda reply: reply)
    return node.execute_command("CLUSTER INFO")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def cluster() -> Iterator[int]:
    """The port of one node."""
    with ExitStack() as stack:
        args = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
        servers = [stack.enter_context(ServerProcess(args=args)) for _ in range(2)]
        nodes = [stack.enter_context(redis.Redis.from_url(server.url)) for server in servers]
        join(nodes, [server.port for server in servers])
        yield servers[0].port


@pytest.fixture
async def hub(cluster: int) -> AsyncIterator[Hub]:
    client: Any = redis.asyncio.cluster.RedisCluster(host="127.0.0.1", port=cluster)
    await client.initialize()
    async with Hub(client) as hub:
        yield hub
    await client.aclose()
