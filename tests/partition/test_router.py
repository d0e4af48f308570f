"""Who is asked: by push, by reading again, and when the server is gone."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from riskscale import ArgumentError, Hub, HubClosed, PartitionGroup, PartitionRouter, Route, StateError, WrongOwner
from riskscale.partition.calls import Beat, GroupCalls, GroupInfo, MemberInfo
from riskscale.partition.table import Table
from riskscale.testing import Outage
from tests.partition.fleet import LONG, Story, joined, shares, until


def table(router: PartitionRouter) -> dict[int, tuple[str | None, int]]:
    routes = [router._table.route(number) for number in range(router._group.num_partitions)]
    return {route.partition: (route.owner, route.epoch) for route in routes}


def owners(*groups: PartitionGroup) -> dict[int, tuple[str | None, int]]:
    return {number: (group.member, epoch) for group in groups for number, epoch in sorted(group.partitions.items())}


async def test_the_table_follows_every_change_by_push_alone(client: Any, prefix: str) -> None:
    story = Story()
    async with (
        Hub(client, key_prefix=prefix) as one,
        Hub(client, key_prefix=prefix) as two,
        Hub(client, key_prefix=prefix) as three,
    ):
        first = await joined(one, "g", 8, "a", story)
        outside = PartitionGroup(three, "g", 8, LONG)
        async with PartitionRouter(outside, refresh=LONG) as router:
            await until(lambda: three.mailbox.channel)
            assert table(router) == owners(first)
            second = await joined(two, "g", 8, "b", story)
            await until(lambda: shares(first, second) == [4, 4])
            await until(lambda: table(router) == owners(first, second))
            for tenant in map(str, range(50)):
                route = router.route(tenant)
                group = {"a:80": first, "b:80": second}[route.address]
                assert route.partition == outside.partition_of(tenant)
                assert group.check(route.partition, route.epoch).epoch == route.epoch
                assert route.owner == group.member
            await second.aclose()
            await until(lambda: table(router) == owners(first) and len(first.partitions) == 8)
            await first.aclose()
            await until(lambda: set(table(router).values()) == {(None, 0)})
            assert router.route("7") == Route(outside.partition_of("7"), None, "", 0)


async def test_without_push_it_is_no_older_than_its_refresh(client: Any, prefix: str) -> None:
    hub = Hub(client, key_prefix=prefix)
    hub.lasting = False  # as with a bare client
    async with (
        PartitionGroup(hub, "g", 4, LONG, address="a:80") as group,
        PartitionRouter(group, refresh=0.02) as router,
    ):
        before = table(router)
        assert before == owners(group) and 0 <= router.age < math.inf
        await group.aclose()
        await until(lambda: set(table(router).values()) == {(None, 0)})


@pytest.mark.embedded
async def test_a_server_that_does_not_answer_leaves_the_table_as_it_was(client: Any, prefix: str, backend: Any) -> None:
    outage: Outage = backend.outage
    async with (
        Hub(client, key_prefix=prefix) as hub,
        PartitionGroup(hub, "g", 4, LONG, address="a:80") as group,
        PartitionRouter(group, refresh=0.02) as router,
    ):
        before = table(router)
        with outage:
            seen = router.age
            await until(lambda: router.age > 0.1 + seen)
            assert table(router) == before
        await until(lambda: router.age < 0.1)


async def test_who_was_told_wrong_owner_reads_again_and_is_right(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as hub:
        first = PartitionGroup(hub, "g", 1, LONG, address="a:80")
        await first.start()
        router = PartitionRouter(first, refresh=LONG)
        with pytest.raises(StateError, match="knows nothing yet"):
            router.route("7")
        await router.reread()  # and hears of nothing
        stale = router.route("7")
        await first.aclose()
        async with PartitionGroup(hub, "g", 1, LONG, address="b:80") as second:
            with pytest.raises(WrongOwner) as caught:
                first.check(stale.partition, stale.epoch)
            assert caught.value.epoch == 0 and router.route("7") == stale
            await router.reread()
            partition, owner, address, epoch = router.route("7")
            assert (owner, address) == (second.member, "b:80") and epoch > stale.epoch
            assert second.check(partition, epoch).epoch == second.check(partition, stale.epoch).epoch == epoch


async def test_bad_input(hub: Hub) -> None:
    group = PartitionGroup(hub, "g", 4, LONG)
    with pytest.raises(ArgumentError, match=r"group must be a riskscale\.PartitionGroup"):
        PartitionRouter("g")  # type: ignore[arg-type]
    for refresh in (0, -1, math.inf, "1"):
        with pytest.raises(ArgumentError, match="refresh"):
            PartitionRouter(group, refresh=refresh)  # type: ignore[arg-type]
    async with PartitionRouter(group) as router:
        with pytest.raises(ArgumentError, match="tenant_id"):
            router.route("")


async def test_a_hub_that_closes_ends_its_routers(client: Any, prefix: str) -> None:
    hub = Hub(client, key_prefix=prefix)
    router = PartitionRouter(PartitionGroup(hub, "g", 4, LONG))
    await router.start()
    await router.start()
    await hub.aclose()
    assert router._task is None


async def test_a_router_that_starts_while_its_hub_closes_does_not_run_on(client: Any, prefix: str) -> None:
    hub = Hub(client, key_prefix=prefix)
    router = PartitionRouter(PartitionGroup(hub, "g", 4, LONG), refresh=0.001)
    ask, asked, go = hub.ask, asyncio.Event(), asyncio.Event()

    async def late(call: Any) -> Any:
        reply = await ask(call)
        asked.set()
        await go.wait()
        return reply

    hub.ask = late  # type: ignore[method-assign, assignment]
    starting = asyncio.create_task(router.start())
    await asked.wait()
    closing = asyncio.create_task(hub.aclose())
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(HubClosed):
        await starting
    await closing
    assert router._task is None and asyncio.all_tasks() == {asyncio.current_task()}


class Server:
    """Replies in the order in which they may come."""

    def __init__(self) -> None:
        self.now = 0.0
        self.table = Table(GroupCalls.of("rs1:{g}", ""), 10.0, lambda: self.now)

    def info(self, version: int, owned: dict[int, int]) -> GroupInfo:
        return GroupInfo(0.0, version, 4, 0, [MemberInfo("m", "m:80", True, 1.0, 4, owned)])

    def reads(self, version: int, owned: dict[int, int]) -> None:
        self.table.read()
        self.table.found(self.info(version, owned), self.now)

    def pushes(self, version: int, before: int, freed: str = "-", taken: str = "-") -> None:
        self.table.put(f"{version} {before} 1 1 0 n {freed} {taken} n:80")
        self.table.look()

    def owned(self) -> dict[int, tuple[str | None, int]]:
        return {number: (route.owner, route.epoch) for number in range(4) if (route := self.table.route(number)).owner}


def test_a_change_is_applied_once_and_a_gap_makes_it_read() -> None:
    server = Server()
    server.reads(5, {1: 50, 2: 51})
    server.pushes(6, 5, "2", "2:60,3:61")
    assert server.owned() == {1: ("m", 50), 2: ("n", 60), 3: ("n", 61)} and server.table.pause() == 10.0
    server.pushes(6, 5, "2", "-")
    assert server.owned() == {1: ("m", 50), 2: ("n", 60), 3: ("n", 61)}, "it is known"
    server.pushes(8, 7, "1", "-")
    assert server.table.pause() == 0 and len(server.owned()) == 3, "one is missing"
    server.reads(8, {2: 60})
    assert server.owned() == {2: ("m", 60)} and server.table.pause() == 10.0
    server.table.put("")
    server.table.look()
    assert server.table.pause() == 0, "after a subscription something may be missing"


def test_a_reply_that_was_overtaken_says_nothing() -> None:
    server = Server()
    server.reads(5, {1: 50})
    server.table.read()
    server.pushes(6, 5, "1", "1:60")
    server.table.found(server.info(5, {1: 50}), 0.0)
    assert server.owned() == {1: ("n", 60)} and server.table.pause() == 0, "and is asked for again"


def test_a_server_that_has_forgotten_is_believed() -> None:
    server = Server()
    server.reads(5, {1: 50})
    server.reads(4, {1: 40})
    assert server.owned() == {1: ("m", 40)}
    server.table.read()
    server.table.found(GroupInfo(0.0, 0, 0, 0, []), 0.0)
    assert server.owned() == {} and server.table.version == 0
    server.pushes(9, 0, "-", "1:90")
    assert server.owned() == {1: ("n", 90)}


def test_replies_are_understood() -> None:
    calls = GroupCalls.of("rs1:{g}", "rs1:partitions")
    reply = [7, 1, 9, 9, 8, 2, 3, 4, 2, 0, 90, 5, 91]
    assert calls.beat("m", True, 8, 1000, 0, "").decode(reply) == Beat(7, True, 9, 9, 8, 2, 3, 4, 2, {0: 90, 5: 91})
    assert calls.beat("m", True, 8, 1000, 9, "").decode(reply[:9]).owned is None
    info = calls.read(0).decode([10**6, 9, 8, 6, b"m", b"", 0, 2_000_000, 4, b"0:90 5:91", "n", "n:80", 1, 0, 4, ""])
    assert info.members == [
        MemberInfo("m", "", False, 2.0, 4, {0: 90, 5: 91}),
        MemberInfo("n", "n:80", True, 0.0, 4, {}),
    ]
    assert calls.read(9).decode([10**6, 9, 8, 6]).members is None and calls.read(0).decode([1, 0, 0, 0]).members == []
