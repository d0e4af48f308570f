"""The scripts decide as the model does, whatever happens in what order; and few partitions move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from riskscale.partition._model import Group
from tests.partition.machine import SECOND, START, GroupMachine


@pytest.fixture
def heard(raw_client: Any, prefix: str) -> Iterator[Any]:
    pubsub = raw_client.pubsub()
    pubsub.subscribe(f"{prefix}rs1:partitions")
    while (pubsub.get_message(timeout=5) or {}).get("type") != "subscribe":
        pass
    yield pubsub
    pubsub.close()


@pytest.fixture
def pair(raw_client: Any, prefix: str, heard: Any) -> GroupMachine:
    """Script and model, for those corners where chance seldom leads."""
    machine: GroupMachine = type("Machine", (GroupMachine,), {"client": raw_client, "prefix": prefix, "heard": heard})()
    machine.begin(16)
    return machine


def test_script_and_model_agree(raw_client: Any, prefix: str, heard: Any) -> None:
    machine = type("Machine", (GroupMachine,), {"client": raw_client, "prefix": prefix, "heard": heard})
    examples = max(10, settings().max_examples // 5)  # each looks at everything after every step
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))


def settled(group: Group, names: list[str], now_us: int, partitions: int = 1024) -> int:
    """All beat, and give back what is too much, until nobody has anything to do; how many partitions moved."""
    moved = 0
    while True:
        before = group.version
        for name in names:
            me = group.beat(name, True, partitions, SECOND, "", now_us)
            assert me is not None
            moved += len(group._taken)
            surplus = len(me.owned) - me.share
            if surplus > 0:
                newest = sorted(group.owned(name).items(), key=lambda each: -each[1])[:surplus]
                assert all(group.release(name, newest, now_us))
        if group.version == before:
            return moved


@pytest.mark.parametrize("change", ["joins", "leaves", "dies"])
def test_1024_partitions_of_100_replicas_hardly_move(change: str) -> None:
    group, names = Group(), [f"m{number:03}" for number in range(100)]
    for at in range(100):  # they come one after the other
        settled(group, names[: at + 1], START)
    assert {len(each.owned) for each in group.members.values()} == {10, 11}
    now_us, ideal = START, 1024 / 100
    if change == "joins":
        names.append("new")
        ideal = 1024 / 101
    elif change == "leaves":
        group.leave(names.pop(37), now_us)
    else:
        now_us += SECOND // 2
        victim = names.pop(37)
        settled(group, names, now_us)
        now_us += SECOND // 2
    moved = settled(group, names, now_us)
    assert moved <= ideal * 1.2
    assert {len(each.owned) for each in group.members.values()} == {10, 11}
    assert change != "dies" or victim not in group.members


@given(
    partitions=st.integers(1, 60),
    steps=st.lists(st.tuples(st.sampled_from(["joins", "leaves"]), st.integers(0, 9)), min_size=1, max_size=12),
)
def test_no_more_move_than_must(partitions: int, steps: list[tuple[str, int]]) -> None:
    """Between two balanced states, a join moves what the newcomer gets, and a leave what the leaver had."""
    group = Group()

    for step, number in steps:
        name = f"m{number}"
        if step == "joins" and name not in group.members:
            group.beat(name, True, partitions, SECOND, "", START)
            moved = len(group._taken) + settled(group, list(group.members), START, partitions)
            assert moved == len(group.members[name].owned)
        elif step == "leaves" and name in group.members:
            had = group.leave(name, START)
            moved = settled(group, list(group.members), START, partitions)
            assert not group.members or moved == had
        counts = [len(each.owned) for each in group.members.values()]
        assert not counts or (sum(counts) == partitions and max(counts) - min(counts) <= 1)


def test_4096_partitions_in_one_call_each(pair: GroupMachine) -> None:
    pair.partitions = 4096
    reply = pair.beats("m0")
    assert reply.owned is not None and len(reply.owned) == reply.held == 4096
    assert pair.run(pair.calls.release("m0", list(reply.owned.items()))) == [True] * 4096
    assert pair.run(pair.calls.read(0)).idle == 4096


def test_a_lease_ends_exactly_at_its_end(pair: GroupMachine) -> None:
    pair.beats("m0", ttl_us=SECOND)
    pair.now += SECOND - 1
    assert pair.beats("m1").share == 8 and len(pair.model.members) == 2
    pair.now += 1
    reply = pair.beats("m1")
    assert list(pair.model.members) == ["m1"] and reply.held == 16


def test_one_whose_lease_has_ended_joins_anew_under_newer_epochs(pair: GroupMachine) -> None:
    first = pair.beats("m0")
    pair.now += SECOND
    second = pair.beats("m0", seen=first.changed)
    assert second.joined and first.owned and second.owned
    assert all(second.owned[number] > epoch for number, epoch in first.owned.items())


def test_epochs_rise_when_the_clock_goes_back_and_when_the_key_is_lost(pair: GroupMachine) -> None:
    first = pair.beats("m0")
    pair.now -= 60 * SECOND
    assert first.owned and all(pair.releases("m0", list(first.owned.items())))
    second = pair.beats("m0")
    assert second.owned and all(second.owned[number] > epoch for number, epoch in first.owned.items())
    pair.now += 61 * SECOND
    pair.the_key_is_lost(0)
    third = pair.beats("m0")
    assert third.owned and all(third.owned[number] > epoch for number, epoch in second.owned.items())


def test_a_lease_is_not_longer_when_the_clock_goes_back(pair: GroupMachine) -> None:
    pair.beats("m0")
    pair.beats("m1")
    pair.now -= 60 * SECOND
    pair.beats("m1")
    pair.now += SECOND
    assert pair.beats("m1").staying == 1


def test_a_release_that_arrives_late_takes_nothing_from_a_newer_epoch(pair: GroupMachine) -> None:
    first = pair.beats("m0")
    assert first.owned
    items = list(first.owned.items())
    assert all(pair.releases("m0", items)) and not any(pair.releases("m0", items))
    pair.beats("m0")
    assert not any(pair.releases("m0", items)) and not any(pair.releases("m1", items))


def test_who_is_about_to_leave_hands_over_before_it_goes(pair: GroupMachine) -> None:
    first = pair.beats("m0")
    pair.beats("m1")
    assert pair.beats("m0", stays=False, seen=first.changed).share == 0
    assert pair.beats("m1").share == 16
    assert first.owned and all(pair.releases("m0", list(first.owned.items())))
    assert pair.beats("m1").held == 16
    pair.leave("m0", 0)
    pair.leave("m0", 0)
    assert not pair.beats("m0", stays=False).joined, "it does not come back by that"
