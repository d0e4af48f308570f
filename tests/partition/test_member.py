"""One replica in a group, without a server: virtual time, replies as they may come."""

from __future__ import annotations

import pytest

from riskscale import Assignment, WrongOwner
from riskscale.partition.calls import Beat, Change, GroupCalls
from riskscale.partition.member import GroupSpec, Member

TTL = 3.0


class Replica:
    """A member, its clock, and what its user was told."""

    def __init__(self, drain: float = 1.0) -> None:
        self.now = 100.0
        calls = GroupCalls.of("rs1:{g}", "rs1:partitions")
        spec = GroupSpec(name="g", calls=calls, partitions=8, ttl_us=3_000_000, address="", drain=drain)
        self.member = Member(spec, lambda: self.now, lambda: 0.5)
        self.version = 0

    def sends(self) -> str:
        """Which script, '' where nothing is due."""
        call = self.member.send()
        return call.script.removeprefix("partition.") if call else ""

    def replies(self, owned: dict[int, int] | None, share: int = 8, held: int | None = None, shares: int = 1) -> None:
        self.version += 1
        held = len(self.member.held if owned is None else owned) if held is None else held
        self.member.answered(Beat(0, False, self.version, self.version, shares, 1, 0, share, held, owned))

    def beats(self, owned: dict[int, int] | None, **reply: int) -> None:
        assert self.sends() == "beat"
        self.replies(owned, **reply)

    def told(self) -> list[tuple[str, list[int]]]:
        """And the user is done with it at once."""
        said = []
        while self.member.news:
            news = self.member.news.popleft()
            items = news.to_tell()
            if items:
                said.append(("assigned" if news.assigned else "revoked", [each.partition for each in items]))
            if not news.assigned:
                self.member.drained(news.items)
        return said

    def at(self, partition: int) -> Assignment:
        return self.member.check(partition, None)


def test_it_beats_at_a_third_of_the_ttl() -> None:
    replica = Replica()
    replica.beats({1: 10, 2: 11})
    assert replica.told() == [("assigned", [1, 2])]
    assert replica.member.pause() == pytest.approx(1.0) and not replica.sends()
    replica.now += 1.0
    replica.beats(None)
    assert not replica.told() and replica.at(1).remaining() == pytest.approx(TTL)


def test_the_lease_counts_from_when_the_beat_was_sent() -> None:
    replica = Replica()
    assert replica.sends() == "beat"
    replica.now += 2.0
    replica.replies({1: 10})
    assert replica.at(1).remaining() == pytest.approx(TTL - 2.0)


def test_it_gives_up_a_little_before_the_lease_ends_and_what_it_gave_up_it_gives_back() -> None:
    replica = Replica()
    replica.beats({1: 10, 2: 11})
    replica.told()
    held = replica.at(1)
    replica.now += 1.0
    assert replica.sends() == "beat"
    replica.member.failed(ConnectionError())
    replica.now += TTL - 1.0 - 0.1
    replica.sends()
    assert replica.told() == [("revoked", [1, 2])] and held.lost and not replica.member.held
    with pytest.raises(WrongOwner):
        replica.at(1)
    replica.member.failed(ConnectionError())
    replica.now += 1.0
    assert replica.sends() == "release"
    replica.member.answered([True, True])
    replica.beats({1: 20, 5: 21})
    assert replica.told() == [("assigned", [1, 5])] and replica.at(1).epoch == 20


def test_what_ended_while_the_process_slept_is_not_brought_back_by_a_late_reply() -> None:
    replica = Replica()
    replica.beats({1: 10})
    replica.told()
    held = replica.at(1)
    replica.now += 1.0
    assert replica.sends() == "beat"
    replica.now += 60.0
    assert held.lost
    replica.replies(None)
    assert replica.sends() == "release" and replica.told() == [("revoked", [1])]
    with pytest.raises(WrongOwner):
        replica.at(1)


def test_the_newest_go_first_and_no_more_than_too_many() -> None:
    replica = Replica()
    replica.beats({1: 10, 2: 30, 3: 20, 4: 40})
    replica.told()
    replica.now += 1.0
    replica.beats(None, share=2)
    replica.now += 0.5
    assert [sorted(each.partition for each in news.items) for news in replica.member.news] == [[2, 4]]
    assert replica.at(2).remaining() > 0, "until it is drained it is owned"
    replica.now += 0.5
    assert replica.sends() == "release", "the time is over"


def test_a_partition_goes_when_it_is_drained_and_not_before() -> None:
    replica = Replica(drain=60.0)
    replica.beats({1: 10, 2: 30})
    replica.told()
    replica.now += 1.0
    replica.beats(None, share=1)
    assert not replica.sends() and replica.at(2)
    replica.now += 1.0
    replica.beats(None, share=1)
    assert len(replica.member.news) == 1, "it is not told again"
    assert replica.told() == [("revoked", [2])]
    with pytest.raises(WrongOwner):
        replica.at(2)
    assert replica.sends() == "release"
    replica.member.answered([True])
    assert set(replica.member.held) == {1}


def test_what_is_over_before_it_was_told_is_not_told() -> None:
    replica = Replica()
    replica.beats({1: 10})
    replica.now += TTL
    replica.sends()
    assert not replica.told()


def test_a_partition_that_came_back_under_a_newer_epoch_was_lost_between() -> None:
    replica = Replica()
    replica.beats({1: 10, 2: 11})
    replica.told()
    old = replica.at(1)
    replica.now += 1.0
    replica.beats({1: 50, 2: 11})
    assert replica.told() == [("revoked", [1]), ("assigned", [1])]
    assert old.lost and replica.at(1).epoch == 50 and replica.at(2).epoch == 11


def test_a_release_whose_reply_was_lost_is_sent_again_before_any_beat() -> None:
    replica = Replica()
    replica.beats({1: 10, 2: 11})
    replica.told()
    replica.now += 1.0
    replica.beats(None, share=1)
    replica.told()
    assert replica.sends() == "release"
    replica.member.failed(TimeoutError())
    assert not replica.sends(), "not at once"
    replica.now += 0.5
    assert replica.sends() == "release"
    replica.member.answered([False])
    replica.now += 1.0
    replica.beats({1: 10}, share=1)


def test_a_beat_under_way_does_not_bring_back_what_is_given_back_meanwhile() -> None:
    replica = Replica(drain=60.0)
    replica.beats({1: 10, 2: 11})
    assert replica.told() == [("assigned", [1, 2])]
    replica.now += 1.0
    replica.beats(None, share=1)
    replica.now += 1.0
    assert replica.sends() == "beat"
    assert replica.told() == [("revoked", [2])]
    replica.replies({1: 10, 2: 11}, share=1)
    assert not replica.told() and set(replica.member.held) == {1}
    assert replica.sends() == "release"


def message(replica: Replica, *, shares: int = 1, idle: int = 0, taken: str = "-", member: str = "other") -> None:
    words = f"9 8 {shares} 100 {idle} {member} - {taken} 10.0.0.1:80"
    assert Change.of(words).address == "10.0.0.1:80"
    replica.member.put(words)
    replica.member.send()


def test_it_beats_at_once_when_the_shares_changed_or_there_is_something_for_it() -> None:
    for news, pause in (
        ({"shares": 2}, 0.05),
        ({"idle": 3}, 0.05),
        ({"shares": 2, "member": ""}, 1.0),
        ({}, 1.0),
    ):
        replica = Replica()
        replica.beats({1: 10}, share=2)
        if news.get("member") == "":
            news["member"] = replica.member.name
        message(replica, **news)  # type: ignore[arg-type]
        assert replica.member.pause() == pytest.approx(pause), news


@pytest.mark.parametrize(("version", "again"), [(8, True), (9, False)])
def test_a_beat_under_way_that_has_not_seen_the_change_is_sent_again(version: int, again: bool) -> None:
    replica = Replica()
    replica.beats({1: 10})
    replica.now += 1.0
    assert replica.sends() == "beat"
    message(replica, shares=9)
    replica.version = version - 1
    replica.replies(None, shares=9 if version >= 9 else 1)
    assert (replica.sends() == "beat") is again


def test_a_look_or_a_leave_while_a_beat_is_under_way_takes_another() -> None:
    for want in (lambda member: member.put(""), Member.leave):
        replica = Replica()
        assert replica.sends() == "beat"
        want(replica.member)
        assert not replica.sends()
        replica.replies({1: 10})
        assert replica.sends() == "beat"


def test_what_a_reply_has_said_is_no_news() -> None:
    replica = Replica()
    replica.version = 20
    replica.beats({1: 10})
    message(replica, shares=9, idle=3)
    assert replica.member.pause() == pytest.approx(1.0)


def test_who_hears_of_a_newer_owner_is_none() -> None:
    replica = Replica()
    replica.beats({1: 10})
    message(replica, taken="1:11")
    with pytest.raises(WrongOwner) as caught:
        replica.at(1)
    assert (caught.value.partition, caught.value.epoch) == (1, 11)
    assert str(caught.value) == "wrong owner of partition 1, epoch 11"


def test_who_asks_by_a_newer_epoch_is_refused_and_by_an_older_one_served() -> None:
    replica = Replica()
    replica.beats({1: 10})
    assert replica.member.check(1, 9).epoch == replica.member.check(1, 10).epoch == 10
    with pytest.raises(WrongOwner):
        replica.member.check(1, 11)
    with pytest.raises(WrongOwner) as caught:
        replica.member.check(2, None)
    assert caught.value.epoch == 0


def test_a_message_that_is_none_makes_it_look() -> None:
    replica = Replica()
    replica.beats({1: 10})
    for text in ("", "something of a later release"):
        replica.member.put(text)
        assert replica.sends() == "beat"
        replica.replies(None)


def test_who_leaves_takes_nothing_and_drains_all() -> None:
    replica = Replica()
    replica.beats({1: 10, 2: 11})
    replica.told()
    replica.member.leave()
    call = replica.member.send()
    assert call is not None and call.args[1] == 0 and not replica.member.is_done
    replica.replies({1: 10, 2: 11, 3: 12}, share=0)
    assert ("revoked", [1, 2]) in replica.told()
    assert replica.member.is_done and replica.sends() == "release"


def test_a_reply_that_comes_after_the_end_brings_nothing() -> None:
    replica = Replica()
    assert replica.sends() == "beat"
    replica.member.end()
    replica.replies({1: 10})
    assert not replica.member.held and not replica.told()


def test_what_is_lost_while_an_older_epoch_of_it_is_given_back_is_given_back_too() -> None:
    replica = Replica()
    replica.beats({1: 10}, share=1)
    replica.told()
    replica.now += 2.0
    assert replica.sends() == "beat"
    replica.now += 0.95
    assert not replica.sends() and not replica.member.held, "lost while it was under way"
    replica.replies({1: 11}, share=1)  # the server had forgotten
    assert replica.sends() == "release"
    replica.now = replica.member.deadline
    assert not replica.sends() and not replica.member.held
    replica.member.answered([False])
    call = replica.member.send()
    assert call is not None and call.args[2:] == (1, 11)


def test_a_reply_that_comes_too_late_to_count_on_is_asked_for_again() -> None:
    replica = Replica()
    assert replica.sends() == "beat"
    replica.now += TTL
    replica.replies({1: 10})
    assert not replica.member.held and not replica.told()
    call = replica.member.send()
    assert call is not None and call.script == "partition.beat" and call.args[4] == 0, "as if it had heard nothing"
    replica.replies({1: 10})
    assert replica.told() == [("assigned", [1])]
