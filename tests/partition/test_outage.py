"""The server does not answer, or is killed: who owned gives up in time, and owns again when it is back."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
import redis.asyncio

from riskscale import Hub, PartitionGroup, PartitionRouter, WrongOwner
from riskscale import sync as blocking
from riskscale.testing import Outage, ServerProcess
from tests.partition.fleet import Story, until

pytestmark = pytest.mark.owns_server


async def test_an_outage(scratch_server: ServerProcess, outage: Outage) -> None:
    story = Story()
    client: Any = redis.asyncio.Redis.from_url(scratch_server.url)
    async with (
        client,
        Hub(client) as hub,
        PartitionGroup(hub, "g", 4, 0.6, address="a", **story.callbacks("a")) as group,
        PartitionRouter(group, refresh=0.05) as router,
    ):
        before = group.partitions
        ending = [group.check(number) for number in before]
        await until(lambda: story.lines)
        with outage:
            await until(lambda: len(story.lines) == 2)
            assert story.lines[1] == ("revoked", "a", before)
            assert not group.partitions and all(each.lost for each in ending)
            with pytest.raises(WrongOwner):
                group.check(0)
            assert router.route("7").epoch in before.values(), "it goes on with what it knows"
        await until(lambda: len(group.partitions) == 4)
        assert all(group.partitions[number] > epoch for number, epoch in before.items())
        await until(lambda: {router._table.route(n).epoch for n in range(4)} == set(group.partitions.values()))
    assert not story.owners()


def test_an_outage_in_threads(scratch_server: ServerProcess, outage: Outage) -> None:
    """A call that hangs does not keep the replica from giving up in time."""
    story = Story()
    with (
        redis.Redis.from_url(scratch_server.url) as client,
        blocking.Hub(client) as hub,
        blocking.PartitionGroup(hub, "g", 4, 0.6, **story.callbacks("a")) as group,
    ):
        before = group.partitions
        while not story.lines:
            time.sleep(0.001)
        with outage:
            while len(story.lines) < 2:
                time.sleep(0.001)
            assert story.lines[1] == ("revoked", "a", before) and not group.partitions
        while len(group.partitions) < 4:
            time.sleep(0.001)
        assert all(group.partitions[number] > epoch for number, epoch in before.items())
    assert not story.owners()
