"""Replicas and the model of the server in one virtual time: calls that are lost, or their replies, or that come late or
twice, users that drain or do not, processes that sleep, die and come back. Who believes to own does own."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from riskscale._core.call import Call
from riskscale.partition._model import Group
from riskscale.partition.calls import Beat, GroupCalls
from riskscale.partition.member import GroupSpec, Member

PARTITIONS, TTL, DRAIN = 6, 3.0, 0.7
WHO = st.integers(0, 2)


class Server:
    """The model, as the scripts' calls reach it."""

    def __init__(self) -> None:
        self.group = Group()

    def run(self, call: Call[Any], now: float) -> Any:
        """What it replies."""
        now_us, group = round(now * 1_000_000), self.group
        name, *words = call.args
        if call.script == "partition.release":
            items = [int(word) for word in words[1:]]
            return group.release(str(name), list(zip(items[0::2], items[1::2], strict=True)), now_us)
        if call.script == "partition.leave":
            return group.leave(str(name), now_us) is not None
        stays, partitions, ttl_us, seen, address, _ = words
        me = group.beat(str(name), bool(stays), int(partitions), int(ttl_us), str(address), now_us)
        state = (group.shares, group.staying, len(group.free))
        if me is None:
            return Beat(now_us, False, group.version, 0, *state, 0, 0, {} if seen else None)
        owned = None if me.changed == seen else group.owned(me.name)
        return Beat(now_us, False, group.version, me.changed, *state, me.share, len(me.owned), owned)


class Fleet(RuleBasedStateMachine):
    """Three replicas of one group."""

    @initialize()
    def begin(self) -> None:
        self.now, self.server = 1000.0, Server()
        self.late: list[Call[Any]] = []
        self.calls: dict[int, Call[Any] | None] = {}
        self.replies: dict[int, Any] = {}
        self.members: list[Member] = []
        self.heard: dict[tuple[str, int, int], str] = {}
        for who in range(3):
            self.members.append(self.member())
            self.calls[who] = None

    def member(self) -> Member:
        spec = GroupSpec(
            name="g",
            calls=GroupCalls.of("rs1:{g}", "rs1:partitions"),
            partitions=PARTITIONS,
            ttl_us=round(TTL * 1_000_000),
            address="",
            drain=DRAIN,
        )
        return Member(spec, lambda: self.now, lambda: 0.5)

    @rule(by=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, TTL]))
    def time_passes(self, by: float) -> None:
        self.now += by

    @rule(who=WHO)
    def wakes(self, who: int) -> None:
        """It looks, and sends what is due; what comes of that is another step."""
        if self.calls[who] is None:
            self.calls[who] = self.members[who].send()
        else:
            assert self.members[who].send() is None, "one call at a time"

    @rule(
        who=WHO,
        how=st.sampled_from(["fine", "fine", "fine", "request lost", "reply lost", "slow", "slow", "late", "twice"]),
    )
    def call_ends(self, who: int, how: str) -> None:
        if who in self.replies:
            self.calls[who] = None
            self.members[who].answered(self.replies.pop(who))
            return
        call = self.calls[who]
        if call is None:
            return
        if how == "slow":  # the server has done it, and the reply is on its way
            self.replies[who] = self.server.run(call, self.now)
            return
        self.calls[who] = None
        if how == "late":
            self.late.append(call)
        reply = None if how in ("request lost", "late") else self.server.run(call, self.now)
        if how == "twice":
            reply = self.server.run(call, self.now)
        if reply is None or how == "reply lost":
            self.members[who].failed(TimeoutError())
        else:
            self.members[who].answered(reply)

    @rule()
    def a_late_call_arrives(self) -> None:
        if self.late:
            self.server.run(self.late.pop(0), self.now)

    @rule(who=WHO, lost=st.integers(0, 3))
    def news_arrive(self, who: int, lost: int) -> None:
        """The last thing that was told, unless it is lost."""
        if lost and self.server.group.told:
            change = self.server.group.told[-1]
            freed = ",".join(map(str, change.freed)) or "-"
            taken = ",".join(f"{partition}:{epoch}" for partition, epoch in change.taken) or "-"
            self.members[who].put(" ".join(map(str, (*change[:6], freed, taken, change.address))))

    @rule(who=WHO)
    def its_user_does_as_told(self, who: int) -> None:
        if self.members[who].news:
            news = self.members[who].news.popleft()
            for each in news.to_tell():
                self.told(self.members[who].name, news.assigned, each.partition, each.epoch)
            if not news.assigned:
                self.members[who].drained(news.items)

    def told(self, name: str, assigned: bool, partition: int, epoch: int) -> None:
        """Each is assigned once, and then revoked once."""
        heard = self.heard.get((name, partition, epoch))
        assert heard == (None if assigned else "assigned")
        self.heard[name, partition, epoch] = "assigned" if assigned else "revoked"

    @rule(who=WHO, seldom=st.integers(0, 4))
    def dies(self, who: int, seldom: int) -> None:
        """And another comes in its place."""
        if not seldom:
            self.members[who], self.calls[who] = self.member(), None
            self.replies.pop(who, None)

    @rule(who=WHO, seldom=st.integers(0, 4))
    def leaves(self, who: int, seldom: int) -> None:
        if not seldom:
            self.members[who].leave()
        if self.members[who].is_done and self.calls[who] is None and not self.members[who].news:
            self.server.run(self.members[who].spec.calls.leave(self.members[who].name), self.now)
            self.members[who] = self.member()

    @invariant()
    def who_believes_to_own_does(self) -> None:
        """By the server's clock, which is everybody's here: so no two believe it of the same."""
        group = getattr(self, "server", None) and self.server.group
        for member in getattr(self, "members", ()):
            for each in member.held.values():
                if each.remaining() > 0:
                    me = group.members.get(member.name)
                    assert me and each.partition in me.owned and group.epochs[each.partition] == each.epoch
                    assert me.end_us >= round((self.now + each.remaining()) * 1_000_000) - 1

    def teardown(self) -> None:
        """When nothing more goes wrong, all is owned in one ttl and one heartbeat, and shared in three more."""
        if not hasattr(self, "members"):
            return
        for step in range(round((TTL + TTL / 3) / 0.1) + 1 + 30):
            for who in range(3):
                if self.members[who].leaves_until is not None and self.members[who].is_done:
                    self.leaves(who, 1)
                for _ in range(3):
                    self.call_ends(who, "fine")
                    self.wakes(who)
                    self.call_ends(who, "fine")
                    self.its_user_does_as_told(who)
            if step == round((TTL + TTL / 3) / 0.1) + 1:
                assert not self.server.group.free
            self.now += 0.1
        held = [len(member.held) for member in self.members]
        assert sum(held) == PARTITIONS and max(held) - min(held) <= 1, held


def test_who_believes_to_own_does() -> None:
    examples = max(10, settings().max_examples // 2)
    run_state_machine_as_test(Fleet, settings=settings(max_examples=examples, stateful_step_count=60))
