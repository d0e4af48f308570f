"""How old what is known may be: against a history of changes, with every read late, lost, or overtaken."""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from riskscale import HubClosed, Limit
from riskscale.limits import known
from riskscale.limits.known import BY_HAND, EARLY, FRESH, Known
from riskscale.rate.fallback import RETRY

DEFAULT = (Limit(1, per=60),)
KEYS = ("a", "b", "c")


def limit(count: int) -> tuple[Limit, ...]:
    return (Limit(count, per=60),)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Server:
    """The hash, and what each key had at what time."""

    clock: Clock
    version: int = 0
    limits: dict[str, int] = field(default_factory=dict)
    history: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: {key: [(0.0, 1)] for key in KEYS})

    def write(self, key: str, count: int) -> None:
        self.limits[key] = count
        self.history[key].append((self.clock(), count))

    def change(self, key: str, count: int) -> None:
        self.version = max(self.version + 1, int(self.clock() * 1e6))
        self.write(key, count)

    def lose(self) -> None:
        self.clock.now += 0.00001  # no two runs of a script are in one microsecond
        self.version = 0
        for key in KEYS:
            self.write(key, 1)

    def had(self, key: str, since: float) -> set[int]:
        """What ``key`` had at any time from ``since`` on."""
        times = [at for at, _ in self.history[key][1:]] + [math.inf]
        return {count for (_, count), end in zip(self.history[key], times, strict=True) if end >= since}


class History(RuleBasedStateMachine):
    by_hand = False
    bound = FRESH
    pauses = (0.001, 0.1, 0.3, EARLY, FRESH)

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.counts = Clock(), itertools.count(2)
        self.server = Server(self.clock)
        self.known = Known(DEFAULT, self.clock)
        self.wanted: dict[str, None] = {}
        self.sent: tuple[float, list[str]] | None = None
        self.reply: tuple[int, dict[str, tuple[Limit, ...]]] | None = None

    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        self.clock.now += data.draw(st.sampled_from(self.pauses))

    @rule(key=st.sampled_from(KEYS))
    def an_operator_changes(self, key: str) -> None:
        if self.by_hand:
            self.server.write(key, next(self.counts))
        else:
            self.server.change(key, next(self.counts))

    @rule()
    def the_hash_is_lost(self) -> None:
        if not self.by_hand:
            self.server.lose()

    @invariant()
    def what_would_be_used_has_been_true(self) -> None:
        for key in KEYS:
            if self.known.age((key,)) < FRESH:
                (found,) = self.known.of((key,))[0]
                assert found.count in self.server.had(key, self.clock() - self.bound), (key, found.count)

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1))
    def they_are_used(self, keys: list[str]) -> None:
        self.wanted.update(self.known.older(keys, EARLY))

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1))
    def they_are_used_and_read_at_once(self, keys: list[str]) -> None:
        self.they_are_used(keys)
        while self.wanted and self.sent is None:
            self.it_asks()
            self.the_server_runs_it()
            self.the_reply_comes_or_is_lost(lost=False)

    @precondition(lambda self: self.wanted and self.sent is None)
    @rule()
    def it_asks(self) -> None:
        keys = self.known.to_read(self.wanted, 2)
        assert 1 <= len(keys) <= 2 and set(keys) <= set(self.wanted)
        self.sent = self.known.begin(), keys

    @precondition(lambda self: self.sent and self.reply is None)
    @rule()
    def the_server_runs_it(self) -> None:
        assert self.sent
        limits = {key: limit(self.server.limits.get(key, 1)) for key in self.sent[1]}
        self.reply = self.server.version, limits

    @precondition(lambda self: self.reply)
    @rule(lost=st.booleans())
    def the_reply_comes_or_is_lost(self, lost: bool) -> None:
        assert self.sent and self.reply
        (sent, keys), (version, limits) = self.sent, self.reply
        self.sent = self.reply = None
        if lost:
            self.known.failed(ConnectionError())
            self.wanted.clear()
        else:
            before = set(self.wanted)
            self.known.store(limits, sent, version)
            self.known.settle(self.wanted, keys)
            assert before - set(self.wanted) >= set(keys), "it comes to an end"

    @rule(key=st.sampled_from(KEYS))
    def this_process_changes(self, key: str) -> None:
        """While a read may be under way, whose reply comes later."""
        if not self.by_hand:
            sent, count = self.clock(), next(self.counts)
            self.server.change(key, count)
            self.known.store({key: limit(count)}, sent, self.server.version)
            assert self.known.of((key,)) == [limit(count)]


class ByHand(History):
    """Changes that raise no version are seen within a minute."""

    by_hand = True
    bound = BY_HAND
    pauses = (0.1, 0.4, 0.4, BY_HAND / 2, BY_HAND)


@pytest.mark.parametrize("machine", [History, ByHand])
def test_nothing_is_used_that_has_not_been_true_within_its_time(machine: type[History]) -> None:
    run_state_machine_as_test(machine)


def test_a_late_reply_changes_nothing() -> None:
    clock = Clock()
    mine = Known(DEFAULT, clock)
    sent = mine.begin()
    clock.now += 0.1
    mine.store({"a": limit(5)}, clock(), 7)
    mine.store({"a": limit(4)}, sent, 6)
    assert mine.of(("a",)) == [limit(5)]
    clock.now += 0.1
    mine.store({"a": limit(3)}, clock(), 2)
    assert mine.of(("a",)) == [limit(3)], "asked later: the hash was lost"


def test_one_reply_vouches_for_all_keys() -> None:
    clock = Clock()
    mine = Known(DEFAULT, clock)
    mine.store({"a": limit(5), "b": limit(6)}, clock(), 7)
    clock.now += EARLY
    wanted = mine.older(("a", "b"), EARLY)
    assert mine.to_read(wanted, 512) == ["a"], "for the version alone, one key will do"
    mine.store({"a": limit(5)}, clock(), 7)
    mine.settle(wanted, ["a"])
    assert not wanted and mine.age(("a", "b")) < 0.01
    clock.now += EARLY
    mine.store({"a": limit(1)}, clock(), 8)
    assert mine.age(("b",)) == EARLY, "it was true when the version was last seen"
    assert mine.to_read({"a": None, "b": None}, 512) == ["b"]


def test_nobody_waits_for_a_server_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    mine = Known(DEFAULT, clock)
    mine.begin()
    clock.now += Known.patience
    assert not mine.is_blind
    clock.now += 0.001
    assert mine.is_blind and mine.may_ask, "an answer that takes very long"
    for _ in range(3):
        mine.failed(ConnectionError())
        assert mine.is_blind and not mine.may_ask
        clock.now += RETRY
        assert mine.may_ask
    mine.store({"a": limit(5)}, clock(), 1)
    assert not mine.is_blind and mine.of(("a", "b")) == [limit(5), DEFAULT]
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "limits cannot be read, the last known go on",
        "limits are read again",
    ]


def test_a_hub_that_is_closed_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    Known(DEFAULT, Clock()).failed(HubClosed())
    assert not caplog.records


def test_keys_and_warnings_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(known, "MOST", 10)
    monkeypatch.setattr(known, "WARNINGS", 10)
    mine = Known(DEFAULT, Clock())
    for number in range(100):
        mine.store({str(number): limit(2)}, 1000.0 + number, 7)
        mine.doubt(f"\n{number}", "makes no sense")
        mine.doubt(f"\n{number}", "makes no sense")
    assert len(mine._entries) == 10 and len(mine._warned) <= 10
    assert len(caplog.records) == 100 and caplog.records[0].levelno == logging.WARNING
    assert "\n" not in caplog.records[0].message and "'\\n0'" in caplog.records[0].message
