"""The same names in threads."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import riskscale
from riskscale import ArgumentError, Assignment, HubClosed, StateError, WrongOwner
from riskscale.sync import Hub, PartitionGroup, PartitionRouter
from tests.partition.fleet import LONG, Story


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.001)


def threads() -> list[str]:
    names = ("riskscale-partitions", "riskscale-beats", "riskscale-told", "riskscale-router")
    return [thread.name for thread in threading.enumerate() if thread.name in names]


def test_replicas_share_by_push_alone_and_a_router_follows(sync_client: Any, prefix: str) -> None:
    story = Story()
    with Hub(sync_client, key_prefix=prefix) as one, Hub(sync_client, key_prefix=prefix) as two:
        first = PartitionGroup(one, "g", 6, LONG, address="a:80", **story.callbacks("a"))
        second = PartitionGroup(two, "g", 6, LONG, address="b:80", **story.callbacks("b"))
        with first, PartitionRouter(first, refresh=LONG) as router:
            until(lambda: one.mailbox.channel)
            assert len(first.partitions) == 6
            with second:
                until(lambda: two.mailbox.channel)
                until(lambda: [len(each.partitions) for each in (first, second)] == [3, 3])
                until(lambda: len(story.owners()) == 6)

                def is_right(tenant: str) -> bool:
                    route = router.route(tenant)
                    group = {"a:80": first, "b:80": second}.get(route.address)
                    return group is not None and group.partitions.get(route.partition) == route.epoch

                until(lambda: all(is_right(str(number)) for number in range(30)))
                info = first.inspect()
                assert info.members and [len(each.owned) for each in info.members] == [3, 3]
            until(lambda: len(first.partitions) == 6)
    assert not story.owners()
    until(lambda: not threads())


def test_who_drains_is_the_owner_until_it_is_done(sync_client: Any, prefix: str) -> None:
    begun, done = threading.Event(), threading.Event()
    ending: list[Assignment] = []

    def stop(items: list[Assignment]) -> None:
        ending.extend(items)
        begun.set()
        done.wait(20)

    with (
        Hub(sync_client, key_prefix=prefix) as one,
        Hub(sync_client, key_prefix=prefix) as two,
        PartitionGroup(one, "g", 4, LONG, on_revoked=stop, drain=LONG) as first,
    ):
        until(lambda: one.mailbox.channel)
        with PartitionGroup(two, "g", 4, LONG) as second:
            begun.wait()
            assert not second.partitions and not any(each.lost for each in ending)
            done.set()
            until(lambda: len(first.partitions) == len(second.partitions) == 2)
            assert all(each.lost for each in ending)
            with pytest.raises(WrongOwner):
                first.check(ending[0].partition)


def test_who_does_not_end_in_time_loses_it(sync_client: Any, prefix: str) -> None:
    done = threading.Event()
    with (
        Hub(sync_client, key_prefix=prefix) as one,
        Hub(sync_client, key_prefix=prefix) as two,
        PartitionGroup(one, "g", 4, LONG, on_revoked=lambda _: done.wait(20), drain=0.05) as first,
    ):
        until(lambda: one.mailbox.channel)
        with PartitionGroup(two, "g", 4, LONG) as second:
            until(lambda: len(first.partitions) == len(second.partitions) == 2)
        done.set()


def test_a_hub_that_closes_leaves_and_nothing_runs_on(sync_client: Any, prefix: str) -> None:
    hub = Hub(sync_client, key_prefix=prefix)
    group = PartitionGroup(hub, "g", 4, LONG)
    router = PartitionRouter(group)
    group.start()
    router.start()
    with pytest.raises(StateError, match="already"):
        group.start()
    hub.close()
    assert not group.partitions and group.member is None
    until(lambda: not threads())
    with pytest.raises(HubClosed):
        group.start()
    with Hub(sync_client, key_prefix=prefix) as other:
        assert PartitionGroup(other, "g", 4, LONG).inspect().members == []


def test_what_a_late_reply_brings_is_given_up_before_it_goes_to_others(sync_client: Any, prefix: str) -> None:
    seen: list[dict[int, int]] = []
    taken, go = threading.Event(), threading.Event()
    with Hub(sync_client, key_prefix=prefix) as one, Hub(sync_client, key_prefix=prefix) as two:
        first, leaver = PartitionGroup(one, "g", 4, LONG), PartitionGroup(two, "g", 4, LONG)
        run = two._run

        def late(call: Any) -> Any:
            reply = run(call)
            if call.script == "partition.leave":
                seen.append(leaver.partitions)
            elif call.script == "partition.beat" and reply.held:
                taken.set()
                go.wait(20)
            return reply

        with first:
            until(lambda: one.mailbox.channel)
            two._run = late  # type: ignore[method-assign]
            leaver.start()
            taken.wait()
            member = leaver._member
            leaving = threading.Thread(target=leaver.close)
            leaving.start()
            until(lambda: member is not None and member.is_done)
            go.set()
            leaving.join()
            assert seen == [{}], "by then they may be another's"
            until(lambda: len(first.partitions) == 4)


def test_a_callback_that_ends_its_thread_is_called_again(sync_client: Any, prefix: str, caplog: Any) -> None:
    def stop(_: list[Assignment]) -> None:
        sys.exit()

    revoked: list[Assignment] = []
    with Hub(sync_client, key_prefix=prefix) as hub:
        with PartitionGroup(hub, "g", 4, LONG, on_assigned=stop, on_revoked=revoked.extend) as group:
            until(lambda: "on_assigned of group 'g' failed" in caplog.text)
            assert len(group.partitions) == 4
        assert len(revoked) == 4


def test_threads_need_no_coroutine_functions(sync_hub: Hub) -> None:
    async def heard(_: list[Assignment]) -> None: ...

    for argument in ("on_assigned", "on_revoked"):
        with pytest.raises(ArgumentError, match=f"{argument} is a coroutine function"):
            PartitionGroup(sync_hub, "g", 4, 1, **{argument: heard})  # type: ignore[arg-type]


def test_who_asks_while_another_thread_closes_is_told_wrong_owner(sync_hub: Hub, monkeypatch: Any) -> None:
    group = PartitionGroup(sync_hub, "g", 4, 1)
    member = group._new_member()
    for ask in (lambda: group.check(0), lambda: group.partitions, lambda: group.member):
        looks = iter([member])  # at the second look the group is left
        monkeypatch.setattr(PartitionGroup, "_member", property(lambda _: next(looks, None)), raising=False)  # noqa: B023
        with suppress(WrongOwner):
            ask()


def test_bad_input(sync_hub: Hub) -> None:
    with pytest.raises(ArgumentError, match="num_partitions"):
        PartitionGroup(sync_hub, "g", 0, 1)
    with pytest.raises(ArgumentError, match=r"group must be a riskscale\.sync\.PartitionGroup"):
        PartitionRouter(None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"riskscale\.PartitionGroup"):
        riskscale.PartitionRouter(PartitionGroup(sync_hub, "g", 4, 1))  # type: ignore[arg-type]
