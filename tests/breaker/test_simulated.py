"""Replicas and the scripts over a network that loses and delays what it likes, in virtual time."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from riskscale import BreakerPolicy, BreakerState, CircuitOpen
from riskscale._core.scripts import script
from riskscale.breaker.calls import BreakerKeys
from riskscale.breaker.replica import Permit
from riskscale.breaker.shared import SharedReplica
from tests.breaker.test_model import heard  # noqa: F401 - a fixture

START = 10**15
SERIAL = itertools.count()
DAY = 86_400
LOST = ConnectionError("lost")

POLICIES = (
    BreakerPolicy(consecutive_failures=2, open_seconds=10, window_seconds=DAY, permits=2, probe_seconds=50),
    BreakerPolicy(failure_rate=0.5, minimum_calls=4, open_seconds=10, window_seconds=DAY, flush_failures=2),
    BreakerPolicy(consecutive_failures=2, open_seconds=10, window_seconds=DAY, quorum=2, half_open_seconds=20),
    BreakerPolicy(consecutive_failures=1000, open_seconds=10, window_seconds=DAY),
)
WHO = st.integers(0, 2)
HOW = st.sampled_from(["answered", "answered", "answered", "request lost", "reply lost"])


class Network(RuleBasedStateMachine):
    """Three replicas of one breaker. Where nothing is lossy, keys are not lost and replicas do not restart."""

    client: ClassVar[Any]
    prefix: ClassVar[str]
    heard: ClassVar[Any]

    @initialize(policy=st.sampled_from(POLICIES), lossy=st.booleans())
    def begin(self, policy: BreakerPolicy, lossy: bool) -> None:
        self.now, self.policy, self.lossy = 0.0, policy, lossy
        self.keys = BreakerKeys.of(f"{self.prefix}rs1:{{n{next(SERIAL)}}}")
        self.replicas = [self.new() for _ in range(3)]
        self.calls: list[tuple[SharedReplica, Permit]] = []
        self.late: list[Any] = []
        self.mail: list[str] = []
        self.probing: dict[str, tuple[int, float]] = {}
        self.recorded: dict[int, int] = {}
        self.seen: dict[SharedReplica, int] = {}

    def new(self) -> SharedReplica:
        return SharedReplica("n", self.policy, self.keys, f"{self.prefix}rs1:breakers", lambda: self.now)

    def run(self, call: Any) -> Any:
        """By the server, whose pushes are under way to everybody then."""
        now_us = START + round(self.now * 1e6)
        reply = self.client.eval(script(call.script).text, len(call.keys), *call.keys, *call.args, now_us)
        return call.decode(reply)

    def pushes(self) -> list[str]:
        """What was published since."""
        self.client.publish(f"{self.prefix}rs1:breakers", "end")
        found = []
        while True:
            message = self.heard.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None:
                if message["data"] == b"end":
                    return found
                breaker, _, change = message["data"].decode().partition(" ")
                if breaker == self.keys.breaker.decode():  # and not of an example that failed
                    found.append(change)

    def ask(self, replica: SharedReplica, how: str) -> Permit | None:
        token, call = replica.probe()
        if how == "request lost":
            replica.not_probed(token, LOST)
            return replica.enter()
        asked = self.run(call)
        if how == "reply lost":
            replica.not_probed(token, LOST)
            return replica.enter()
        permit = replica.probed(token, asked)
        if permit.is_shared:
            self.probing[permit.token] = permit.generation, self.now + self.policy.rules.probe_us / 1e6
            out = [end for generation, end in self.probing.values() if generation == permit.generation]
            assert self.lossy or sum(end > self.now for end in out) <= self.policy.permits
        return permit

    @rule(seconds=st.sampled_from([0.001, 0.5, 1, 4.999999, 5, 10, 20]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    def enter(self, replica: SharedReplica, how: str) -> Permit | None:
        """None where it is refused."""
        if not replica.is_ready:
            self.report(self.replicas.index(replica), how)
        try:
            permit = replica.enter_closed() or replica.enter() or self.ask(replica, how)
        except CircuitOpen:
            return None
        assert permit is not None
        return permit

    def leave(self, replica: SharedReplica, permit: Permit, failed: bool | None) -> None:
        own, generation = replica.own, replica._known.generation
        if failed is None:
            self.probing.pop(permit.token, None)
        elif not permit.token and permit.generation == own.generation and own.state is BreakerState.CLOSED:
            self.recorded[generation] = self.recorded.get(generation, 0) + 1
        replica.leave(permit, failed)

    @rule(who=WHO, how=HOW)
    def begin_a_call(self, who: int, how: str) -> None:
        permit = self.enter(self.replicas[who], how)
        if permit is not None:
            self.calls.append((self.replicas[who], permit))

    @rule(data=st.data(), failed=st.sampled_from([False, True, True, None]))
    def end_a_call(self, data: st.DataObject, failed: bool | None) -> None:
        if self.calls:
            self.leave(*self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1))), failed)

    @rule(who=WHO, failed=st.booleans(), many=st.integers(1, 4))
    def calls_one_after_the_other(self, who: int, failed: bool, many: int) -> None:
        for _ in range(many):
            permit = self.enter(self.replicas[who], "answered")
            if permit is not None:
                self.leave(self.replicas[who], permit, failed)

    @rule(who=WHO, seldom=st.integers(0, 3))
    def by_hand(self, who: int, seldom: int) -> None:
        if not seldom:
            self.replicas[who].told(self.run(self.replicas[who].forcing(BreakerState.CLOSED, 0, "by hand")))

    @rule(
        who=WHO,
        how=st.one_of(HOW, st.just("late")),
    )
    def report(self, who: int, how: str) -> None:
        replica = self.replicas[who]
        call = replica.report()
        assert call is not None
        if how == "answered":
            replica.reported(self.run(call))
        else:
            if how == "reply lost":
                self.run(call)
            if how == "late":
                self.late.append(call)
            replica.failed(LOST)

    @rule(data=st.data())
    def what_was_late_arrives(self, data: st.DataObject) -> None:
        if self.late:
            self.run(self.late.pop(data.draw(st.integers(0, len(self.late) - 1))))

    @rule(who=WHO, data=st.data())
    def a_push_arrives(self, who: int, data: st.DataObject) -> None:
        """Any of those that ever were, perhaps again."""
        self.mail += self.pushes()
        if self.mail:
            self.replicas[who].put(data.draw(st.sampled_from(self.mail)))
            self.replicas[who].look()

    @rule(ends=st.lists(st.sampled_from(["answered", "failed", "cancelled", "hangs"]), min_size=3, max_size=3))
    def it_may_be_tried(self, ends: list[str]) -> None:
        """Each calls once, when it has been open for as long as it is to be, and reports."""
        self.now += 10
        for replica, end in zip(self.replicas, ends, strict=True):
            permit = self.enter(replica, "answered")
            if permit is not None and end == "hangs":
                self.calls.append((replica, permit))
            elif permit is not None:
                self.leave(replica, permit, {"answered": False, "failed": True}.get(end))
            self.report(self.replicas.index(replica), "answered")

    @rule(seldom=st.integers(0, 4))
    def the_keys_are_lost(self, seldom: int) -> None:
        if self.lossy and not seldom:
            self.client.delete(*self.keys.all)
            self.now += 0.001  # no server loses them and decides anew within the microsecond of the last generation

    @rule(who=WHO, seldom=st.integers(0, 3))
    def a_replica_restarts(self, who: int, seldom: int) -> None:
        if self.lossy and not seldom:
            self.calls = [each for each in self.calls if each[0] is not self.replicas[who]]
            self.replicas[who] = self.new()

    @invariant()
    def nobody_goes_back(self) -> None:
        for replica in getattr(self, "replicas", ()):
            generation = replica._known.generation
            assert generation >= self.seen.get(replica, 0)
            self.seen[replica] = generation

    def teardown(self) -> None:
        """When nothing is lost any more, all agree, and every outcome has counted once."""
        if not hasattr(self, "replicas"):
            return
        for replica, permit in self.calls:
            self.leave(replica, permit, None)
        for _ in range(3):
            for replica in self.replicas:
                while True:
                    call = replica.report()
                    assert call is not None
                    replica.reported(self.run(call))
                    if not replica.has_news:
                        break
        for replica in self.replicas:
            call = replica.report()
            assert call is not None
            snapshot = self.run(call)
            replica.reported(snapshot)
            agrees = replica.own.generation == snapshot.generation and replica.own.state is snapshot.state
            assert agrees or (replica.has_diverged and snapshot.state is BreakerState.CLOSED)
            assert replica._known == snapshot.known
        if not self.lossy:
            assert self.client.zcard(self.keys.probes) == 0, "every permit came back"
        if not self.lossy and snapshot.state is BreakerState.CLOSED:
            window = self.client.hgetall(self.keys.window)
            counted = sum(int(each.split(b"|")[0]) for each in window.values())
            assert counted == self.recorded.get(snapshot.generation, 0)
        self.pushes()


@pytest.mark.embedded
def test_whatever_is_lost_they_agree_in_the_end(raw_client: Any, prefix: str, heard: Any) -> None:  # noqa: F811
    machine = type("Machine", (Network,), {"client": raw_client, "prefix": prefix, "heard": heard})
    run_state_machine_as_test(machine, settings=settings(max_examples=settings().max_examples // 3))
