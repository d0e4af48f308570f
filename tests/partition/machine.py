"""Drives the scripts of a group and their model side by side, in virtual time: members that come, beat late, give back
what they own, owned or never had, and leave; a key that is lost; a clock that steps."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskscale._core.scripts import script
from riskscale.partition._model import Group
from riskscale.partition.calls import Beat, Change, GroupCalls

START = 10**15
SECOND = 1_000_000
SERIAL = itertools.count()
WHO = st.integers(0, 5).map(lambda number: f"m{number}")


class GroupMachine(RuleBasedStateMachine):
    """Up to six members of one group."""

    client: ClassVar[Any]
    prefix: ClassVar[str]
    heard: ClassVar[Any]

    @initialize(partitions=st.sampled_from([1, 3, 7, 16, 40]))
    def begin(self, partitions: int) -> None:
        self.now, self.partitions = START, partitions
        self.calls = GroupCalls.of(f"{self.prefix}rs1:{{g{next(SERIAL)}}}", f"{self.prefix}rs1:partitions")
        self.model = Group()
        self.seen: dict[str, int] = {}
        self.past: list[tuple[int, int]] = [(0, 1)]

    def run(self, call: Any) -> Any:
        """The decoded reply; what was published meanwhile is what the model tells, once it has done the same."""
        words = (*call.keys, *call.args, self.now)
        return call.decode(self.client.eval(script(call.script).text, len(call.keys), *words))

    def told(self) -> None:
        """What was published is what the model told."""
        for expected in self.model.told:
            message = None
            while message is None:
                message = self.heard.get_message(ignore_subscribe_messages=True, timeout=5)
            token, _, rest = message["data"].decode().partition(" ")
            assert token == self.calls.token and Change.of(rest) == expected
        self.model.told.clear()

    @rule(by=st.sampled_from([0, 1, 300_000, SECOND, 3 * SECOND]))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(off=st.integers(-1, 1))
    def time_passes_until_a_lease_ends(self, off: int) -> None:
        ends = [each.end_us for each in self.model.members.values()]
        if ends:
            self.now += max(0, min(ends) - self.model.time_us(self.now) + off)

    @rule(by=st.sampled_from([1, 1000, 60 * SECOND]), seldom=st.integers(0, 5))
    def the_clock_goes_back(self, by: int, seldom: int) -> None:
        self.now -= 0 if seldom else by

    @rule(seldom=st.integers(0, 7))
    def the_key_is_lost(self, seldom: int) -> None:
        if not seldom:
            self.client.delete(self.calls.key)
            self.model = Group()

    @rule(who=WHO, leaves=st.integers(0, 4), seconds=st.integers(1, 3), again=st.booleans(), blind=st.integers(0, 4))
    def beat(self, who: str, leaves: int, seconds: int, again: bool, blind: int) -> None:
        for _ in range(1 + again):  # a repeat finds what the first one did
            self.beats(who, stays=leaves > 0, ttl_us=seconds * SECOND, seen=self.seen.get(who, 0) if blind else 0)

    def beats(self, who: str, *, stays: bool = True, ttl_us: int = SECOND, seen: int = 0) -> Beat:
        me = self.model.members.get(who)
        is_alive = me is not None and me.end_us > self.model.time_us(self.now)
        call = self.calls.beat(who, stays, self.partitions, ttl_us, seen, f"{who}:80")
        reply: Beat = self.run(call)
        me = self.model.beat(who, stays, self.partitions, ttl_us, f"{who}:80", self.now)
        self.told()
        model = self.model
        assert (reply.at_us, reply.version, reply.shares, reply.staying, reply.idle) == (
            self.now, model.version, model.shares, model.staying, len(model.free),
        )  # fmt: skip
        assert reply.joined is (me is not None and not is_alive)
        if me is None:
            assert (reply.changed, reply.share, reply.held) == (0, 0, 0) and not reply.owned
        else:
            assert (reply.changed, reply.share, reply.held) == (me.changed, me.share, len(me.owned))
            assert reply.owned == (None if seen == me.changed else model.owned(who))
        self.seen[who] = reply.changed
        return reply

    @rule(who=WHO, data=st.data())
    def release(self, who: str, data: st.DataObject) -> None:
        me = self.model.members.get(who)
        owned = list(self.model.owned(who).items()) if me else []
        self.past += owned[:2]
        items = st.one_of(st.sampled_from(self.past), *([st.sampled_from(owned)] * 3 if owned else []))
        self.releases(who, data.draw(st.lists(items, min_size=1, max_size=5)))

    def releases(self, who: str, items: list[tuple[int, int]]) -> list[bool]:
        reply: list[bool] = self.run(self.calls.release(who, items))
        assert reply == self.model.release(who, items, self.now)
        self.told()
        return reply

    @rule(who=WHO, seldom=st.integers(0, 2))
    def leave(self, who: str, seldom: int) -> None:
        if not seldom:
            was_there = self.run(self.calls.leave(who))
            assert was_there is (self.model.leave(who, self.now) is not None)
            self.told()

    @rule(partitions=st.sampled_from([1, 5, 16]), seldom=st.integers(0, 5))
    def the_number_changes(self, partitions: int, seldom: int) -> None:
        """Only where nobody is left; and what is refused changes nothing."""
        if seldom or partitions == self.partitions:
            return
        alive = [each for each in self.model.members.values() if each.end_us > self.model.time_us(self.now)]
        call = self.calls.beat("new", True, partitions, SECOND, 0, "")
        if alive:
            with pytest.raises(redis.ResponseError, match=f"^RSARG partitions must be {self.partitions}, "):
                self.run(call)
            return
        self.run(call)
        self.model.beat("new", True, partitions, SECOND, "", self.now)
        self.partitions = partitions
        self.told()

    @invariant()
    def read_shows_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        info = self.run(self.calls.read(0))
        assert (info.version, info.num_partitions, info.idle) == (model.version, model.partitions, len(model.free))
        assert info.members is not None
        found = [(each.name, each.owned, each.share, each.stays, each.address) for each in info.members]
        assert sorted(found) == sorted(
            (each.name, model.owned(each.name), each.share, each.stays, each.address) for each in model.members.values()
        )
        time_us = model.time_us(self.now)
        for each in info.members:
            assert round(each.remaining * SECOND) == max(0, model.members[each.name].end_us - time_us)
        assert model.version == 0 or self.run(self.calls.read(model.version)).members is None

    @invariant()
    def it_is_as_promised(self) -> None:
        """One owner each, nothing forgotten, and shares that are all of it and as equal as can be."""
        model = getattr(self, "model", None)
        if model is None:
            return
        owned = [number for each in model.members.values() for number in each.owned]
        assert sorted(owned + model.free) == list(range(model.partitions))
        shares = [each.share for each in model.members.values() if each.stays]
        if shares:
            assert sum(shares) == model.partitions and max(shares) - min(shares) <= 1
