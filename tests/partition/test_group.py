"""Replicas join, share, hand over and leave, as their users see it."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from riskscale import ArgumentError, Assignment, Hub, HubClosed, PartitionGroup, StateError, WrongOwner
from tests.partition.fleet import LONG, Story, is_quiet, joined, shares, until


async def test_one_alone_owns_all_and_gives_all_back(hub: Hub) -> None:
    story = Story()
    async with PartitionGroup(hub, "g", 8, LONG, **story.callbacks("a")) as group:
        assert sorted(group.partitions) == list(range(8)) and group.member
        await until(lambda: story.lines)
        assert story.said("assigned", "a") == group.partitions
        info = await group.inspect()
        assert info.members is not None and info.members[0].owned == group.partitions and not info.idle
    assert story.said("revoked", "a") == story.said("assigned", "a")
    info = await group.inspect()
    assert (info.members, info.idle, group.partitions, group.member) == ([], 8, {}, None)


async def test_partitions_are_revoked_before_they_are_assigned_and_no_more_move_than_must(
    client: Any, prefix: str
) -> None:
    """By push alone: the beats are an hour away."""
    story = Story()
    async with Hub(client, key_prefix=prefix) as one, Hub(client, key_prefix=prefix) as two:
        async with Hub(client, key_prefix=prefix) as three:
            first = await joined(one, "g", 10, "a", story)
            second = await joined(two, "g", 10, "b", story)
            await until(lambda: shares(first, second) == [5, 5])
            third = await joined(three, "g", 10, "c", story)
            await until(lambda: sorted(shares(first, second, third)) == [3, 3, 4])
            await until(lambda: len(story.owners()) == 10)
            moved = [len(items) for what, who, items in story.lines if (what, who) == ("assigned", "c")]
            assert sum(moved) == len(third.partitions)
        await until(lambda: sorted(shares(first, second)) == [5, 5])
        await until(lambda: len(story.owners()) == 10)
        assert len(story.said("revoked", "c")) == sum(moved), "a hub that closes leaves its groups"
    assert not story.owners()


async def test_who_drains_is_the_owner_until_it_is_done(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as one, Hub(client, key_prefix=prefix) as two:
        begun, done = asyncio.Event(), asyncio.Event()
        ending: list[Assignment] = []

        async def stop(items: list[Assignment]) -> None:
            ending.extend(items)
            begun.set()
            await done.wait()

        first = PartitionGroup(one, "g", 4, LONG, on_revoked=stop, drain=LONG)
        await first.start()
        await until(lambda: one.mailbox.channel)
        second = await joined(two, "g", 4, "b", Story())
        await begun.wait()
        info = await second.inspect()
        assert shares(first, second) == [4, 0] and info.idle == 0
        assert all(not each.lost and first.check(each.partition).epoch == each.epoch for each in ending)
        done.set()
        await until(lambda: shares(first, second) == [2, 2])
        assert all(each.lost and each.remaining() == 0 for each in ending)
        for each in ending:
            with pytest.raises(WrongOwner):
                first.check(each.partition)


async def test_who_does_not_end_in_time_loses_it(client: Any, prefix: str, caplog: Any) -> None:
    async with Hub(client, key_prefix=prefix) as one, Hub(client, key_prefix=prefix) as two:
        ending: list[Assignment] = []

        async def hang(items: list[Assignment]) -> None:
            ending.extend(items)
            await asyncio.Event().wait()

        first = PartitionGroup(one, "g", 4, LONG, on_revoked=hang, drain=0.05)
        await first.start()
        await until(lambda: one.mailbox.channel)
        second = await joined(two, "g", 4, "b", Story())
        await until(lambda: shares(first, second) == [2, 2])
        assert len(ending) == 2 and all(each.lost for each in ending)
    assert "given back undrained" in caplog.text


async def test_leaving_does_not_wait_for_ever(hub: Hub) -> None:
    ended = asyncio.Event()

    async def hang(items: list[Assignment]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with PartitionGroup(hub, "g", 4, LONG, on_revoked=hang, drain=0.02) as group:
        pass
    await ended.wait()
    assert (await group.inspect()).idle == 4 and not group.partitions


async def test_who_loses_all_hears_of_it_once(client: Any, prefix: str, raw_client: Any) -> None:
    """Of a server that has forgotten, and gave all to somebody else."""
    story = Story()
    async with Hub(client, key_prefix=prefix) as one, Hub(client, key_prefix=prefix) as two:
        first = await joined(one, "g", 1, "a", story)
        held = first.check(0)
        await until(lambda: story.lines and is_quiet(first))
        raw_client.delete(f"{prefix}rs1:{{g}}:partitions")
        second = await joined(two, "g", 1, "b", Story())
        await until(lambda: not first.partitions and len(second.partitions) == 1)
        await until(lambda: len(story.lines) == 2)
        assert story.lines[1] == ("revoked", "a", {0: held.epoch}) and held.lost
        with pytest.raises(WrongOwner) as caught:
            first.check(0)
        assert caught.value.epoch == second.partitions[0] > held.epoch


async def test_a_callback_that_fails_is_logged_and_the_partitions_go_on(hub: Hub, caplog: Any) -> None:
    def fail(items: list[Assignment]) -> None:
        raise ValueError(items)

    async with PartitionGroup(hub, "g", 4, LONG, on_assigned=fail, on_revoked=fail) as group:
        await until(lambda: "on_assigned of group 'g' failed" in caplog.text)
        assert len(group.partitions) == 4
    assert "on_revoked of group 'g' failed" in caplog.text
    assert (await group.inspect()).idle == 4


async def test_a_callback_that_awaits_what_it_cancelled_has_ended(hub: Hub, caplog: Any) -> None:
    """A plain mistake: ``task.cancel(); await task``. It need not cost the whole time of draining."""
    work = asyncio.create_task(asyncio.sleep(LONG))

    async def stop(items: list[Assignment]) -> None:
        work.cancel()
        await work

    async with PartitionGroup(hub, "g", 4, LONG, on_revoked=stop, drain=LONG) as group:
        await until(lambda: is_quiet(group))
    assert "on_revoked of group 'g' failed" in caplog.text and "undrained" not in caplog.text


async def test_what_a_late_reply_brings_is_given_up_before_it_goes_to_others(client: Any, prefix: str) -> None:
    seen: list[dict[int, int]] = []
    taken, go = asyncio.Event(), asyncio.Event()
    async with Hub(client, key_prefix=prefix) as one, Hub(client, key_prefix=prefix) as two:
        group = await joined(one, "g", 4, "a", Story())
        leaver = PartitionGroup(two, "g", 4, LONG)
        ask = two.ask

        async def late(call: Any) -> Any:
            reply = await ask(call)
            if call.script == "partition.leave":
                seen.append(leaver.partitions)
            elif call.script == "partition.beat" and reply.held:
                taken.set()
                await go.wait()
            return reply

        two.ask = late  # type: ignore[method-assign, assignment]
        await leaver.start()
        await taken.wait()
        leaving = asyncio.create_task(leaver.aclose())
        await asyncio.sleep(0)
        go.set()
        await leaving
        assert seen == [{}], "by then they may be another's"
        await until(lambda: len(group.partitions) == 4)


async def test_without_push_the_beats_bring_it(client: Any, prefix: str) -> None:
    """As with a bare client."""
    story = Story()
    hub = Hub(client, key_prefix=prefix)
    hub.lasting = False
    one = PartitionGroup(hub, "g", 4, 0.3, **story.callbacks("a"))
    two = PartitionGroup(hub, "g", 4, 0.3, **story.callbacks("b"))
    async with one, two:
        await until(lambda: shares(one, two) == [2, 2])
        await until(lambda: len(story.owners()) == 4)
    assert not story.owners() and not hub.mailbox.channel
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_replica_that_stops_beating_is_replaced(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as one, Hub(client, key_prefix=prefix) as two:
        dead = await joined(one, "g", 4, "a", Story(), ttl=0.6)
        other = await joined(two, "g", 4, "b", Story(), ttl=0.6)
        await until(lambda: shares(dead, other) == [2, 2])
        assert dead._task is not None
        before = (await other.inspect()).members
        dead._task.cancel()  # it says nothing any more, and not that it goes
        await until(lambda: len(other.partitions) == 4)
        assert before is not None
        had = {partition: epoch for each in before if each.address == "a:80" for partition, epoch in each.owned.items()}
        assert len(had) == 2 and all(other.partitions[partition] > epoch for partition, epoch in had.items())


async def test_a_server_that_forgets_costs_newer_epochs(hub: Hub, raw_client: Any, prefix: str) -> None:
    story = Story()
    async with PartitionGroup(hub, "g", 4, 0.3, **story.callbacks("a")) as group:
        before = group.partitions
        raw_client.delete(f"{prefix}rs1:{{g}}:partitions")
        await until(lambda: len(group.partitions) == 4 and group.partitions != before)
        assert all(group.partitions[number] > epoch for number, epoch in before.items())
        await until(lambda: len(story.owners()) == 4)
    assert not story.owners()


async def test_joining_again_is_another_member(hub: Hub) -> None:
    group = PartitionGroup(hub, "g", 4, LONG)
    async with group:
        name, before = group.member, group.partitions
        with pytest.raises(StateError, match="already"):
            await group.start()
    await group.aclose()
    async with group:
        assert group.member not in (name, None)
        assert all(group.partitions[number] > epoch for number, epoch in before.items())


async def test_another_number_of_partitions_is_refused_while_somebody_is_there(hub: Hub) -> None:
    async with PartitionGroup(hub, "g", 4, LONG):
        with pytest.raises(ArgumentError, match="partitions must be 4, as long as somebody is in the group"):
            await PartitionGroup(hub, "g", 8, LONG).start()
    async with PartitionGroup(hub, "g", 8, LONG) as group:
        assert len(group.partitions) == 8


async def test_who_is_cancelled_while_joining_leaves_nothing(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as hub:
        group = PartitionGroup(hub, "g", 4, LONG)
        task = asyncio.create_task(group.start())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert group.member is None and not group.partitions
    async with Hub(client, key_prefix=prefix) as hub:
        info = await PartitionGroup(hub, "g", 4, LONG).inspect()
        assert not info.members, "it left, or had not joined"


async def test_the_hub_leaves_in_the_end_and_nothing_runs_on(client: Any, prefix: str) -> None:
    before = asyncio.all_tasks()
    hub = Hub(client, key_prefix=prefix)
    group = PartitionGroup(hub, "g", 4, LONG, on_revoked=lambda _: asyncio.sleep(LONG), drain=LONG)
    await group.start()
    await until(lambda: hub.mailbox.channel)
    await hub.aclose(timeout=0.05)
    assert asyncio.all_tasks() == before and not group.partitions
    with pytest.raises(HubClosed):
        await group.start()


async def test_what_is_owned_is_counted(client: Any, prefix: str) -> None:
    class Collector:
        def __init__(self) -> None:
            self.gauges: dict[str, float] = {}

        def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
            assert labels == {"group": "g"}

        def observe(self, name: str, value: float, /, **labels: str) -> None: ...

        def gauge(self, name: str, value: float, /, **labels: str) -> None:
            self.gauges[name] = value

    metrics = Collector()
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub, PartitionGroup(hub, "g", 4, LONG):
        await until(lambda: metrics.gauges.get("partitions_owned") == 4)


@pytest.mark.parametrize(
    ("bad", "argument"),
    [
        ({"num_partitions": 0}, "num_partitions"),
        ({"num_partitions": 4097}, "num_partitions"),
        ({"num_partitions": 2.0}, "num_partitions"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": -1}, "ttl"),
        ({"ttl": float("nan")}, "ttl"),
        ({"group": ""}, "group"),
        ({"group": b"g"}, "group"),
        ({"address": "a b"}, "address"),
        ({"address": "é"}, "address"),
        ({"address": "x" * 257}, "address"),
        ({"address": None}, "address"),
        ({"drain": -1}, "drain"),
        ({"on_assigned": 7}, "on_assigned"),
        ({"on_revoked": "stop"}, "on_revoked"),
        ({"strategy": "ring"}, "strategy"),
    ],
)
async def test_bad_input(hub: Hub, bad: dict[str, Any], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        PartitionGroup(hub, **{"group": "g", "num_partitions": 4, "ttl": 1} | bad)
    assert caught.value.argument == argument


async def test_bad_questions(hub: Hub) -> None:
    group = PartitionGroup(hub, "g", 4, LONG)
    for partition in (-1, 4, "1", True):
        with pytest.raises(ArgumentError, match="partition must be"):
            group.check(partition)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="epoch must be"):
        group.check(1, -1)
    with pytest.raises(WrongOwner):
        group.check(1)
    with pytest.raises(ArgumentError, match="tenant_id"):
        group.partition_of("")


def test_wrong_owner_travels() -> None:
    error = pickle.loads(pickle.dumps(WrongOwner(3, 17)))
    assert (error.partition, error.epoch, str(error)) == (3, 17, "wrong owner of partition 3, epoch 17")
