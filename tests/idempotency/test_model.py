"""The scripts and their model, side by side in virtual time: repeats, clocks that step, records that are lost."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from riskscale._core.scripts import script
from riskscale.idempotency._model import RecordModel
from riskscale.idempotency.calls import IN_PROGRESS, MISMATCH, NEW, REPLAY

SERIAL = itertools.count()
LEASE_US, KEEP_US = 1_000_000, 60_000_000
STEPS = st.sampled_from([1, LEASE_US - 1, LEASE_US, KEEP_US - 1, KEEP_US, KEEP_US + LEASE_US])
TOKENS = st.sampled_from(["a", "b", "c"])
RESULTS = st.sampled_from([("here", b""), ("here", b"ok"), ("base64", b"/w=="), ("elsewhere", b"n"), ("nowhere", b"")])


class RecordMachine(RuleBasedStateMachine):
    """Three callers of one key; each call may be repeated, and any of them may be late."""

    client: ClassVar[Any]
    prefix: ClassVar[str]

    @initialize()
    def start(self) -> None:
        self.now = 10**15
        self.key = f"{self.prefix}rs1:{{k{next(SERIAL)}}}:idempotency:g:t"
        self.model = RecordModel()
        self.kept: tuple[str, bytes, int] | None = None
        self.known: dict[str, int] = {}
        self.last_fence = 0

    def eval(self, name: str, *args: str | int | bytes) -> list[Any]:
        reply: list[Any] = self.client.eval(script(f"idempotency.{name}").text, 1, self.key, *args, self.now)
        return reply

    @rule(by=STEPS)
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(by=STEPS)
    def the_clock_goes_back(self, by: int) -> None:
        self.now -= by
        self.kept = None  # its time is longer now, not shorter
        self.last_fence = 0

    @rule()
    def the_record_is_lost(self) -> None:
        self.client.delete(self.key)
        self.model.lose()
        self.kept = None
        self.last_fence = 0

    @rule(token=TOKENS, other=st.sampled_from([False, False, False, True]), waits=st.sampled_from([True, True, False]))
    def begin(self, token: str, other: bool, waits: bool) -> None:
        args = token, "g" if other else "f", LEASE_US, KEEP_US, "box" if waits else ""
        was_live, owner = self.model.is_live(self.now), self.model.token
        left_silently = not self.model.done_us and owner not in ("", token) and not was_live
        left_silently = left_silently and self.model.expires_us(self.now) > 0
        seen = self.model.begin(*args, self.now)
        *numbers, place, response = self.eval("begin", *args)
        assert numbers == [*seen[:5], self.now]
        assert (place.decode(), response) == (seen.place, seen.response)
        if seen.outcome == NEW:
            assert not was_live or owner == token, "two at once"
            assert not left_silently or seen.unknown, "a takeover is marked"
            assert was_live or seen.fence > self.last_fence
            self.last_fence = seen.fence
        if self.kept is not None and self.now < self.kept[2]:
            assert seen.outcome == (MISMATCH if self.model.fingerprint != args[1] else REPLAY)
            assert seen.outcome == MISMATCH or (seen.place, seen.response) == self.kept[:2], "the same for all"
        assert seen.outcome != IN_PROGRESS or 0 < seen.lease_us <= LEASE_US

    @rule(token=TOKENS, result=RESULTS)
    def complete(self, token: str, result: tuple[str, bytes]) -> None:
        there, owner, done = self.model.fingerprint is not None, self.model.token, self.model.done_us
        there = there and self.model.expires_us(self.now) > 0
        stored = self.model.complete(token, "f", KEEP_US, *result, self.now)
        assert self.eval("complete", token, "f", KEEP_US, *result) == [int(stored), self.now]
        assert not stored or not there or owner == token, "who was taken over is refused"
        if stored and not (there and done):
            self.kept = (*result, self.now + KEEP_US)

    @rule(token=TOKENS, left=st.sampled_from(["nothing", "unknown"]))
    def abandon(self, token: str, left: str) -> None:
        ended = self.model.abandon(token, left, self.now)
        assert self.eval("abandon", token, left) == [int(ended), self.now]
        if self.model.fingerprint is None:
            self.last_fence = 0

    @rule(token=TOKENS, lease_us=st.sampled_from([1000, LEASE_US]))
    def heartbeat(self, token: str, lease_us: int) -> None:
        assert self.eval("heartbeat", token, lease_us) == [self.now, self.model.heartbeat(token, lease_us, self.now)]

    @invariant()
    def the_key_holds_the_model(self) -> None:
        model = getattr(self, "model", None)
        if model is None or model.fingerprint is None or model.expires_us(self.now) <= 0:
            return
        found = {name.decode(): value for name, value in self.client.hgetall(self.key).items()}
        waiters = {name[1:]: value.decode() for name, value in found.items() if name.startswith("~")}
        assert waiters == model.waiters
        assert ("previous" in found) == (model.previous != "")
        assert found["token"].decode() == model.token and int(found["unknown"]) == model.unknown
        assert int(found.get("done_us", 0)) == model.done_us
        life_us = 1000 * self.client.pttl(self.key) - 3_600_000_000
        assert life_us > -600_000_000, "it lives as long as it decides anything"


def test_scripts_and_model_agree(raw_client: Any, prefix: str) -> None:
    machine = type("Machine", (RecordMachine,), {"client": raw_client, "prefix": prefix})
    run_state_machine_as_test(machine, settings=hypothesis.settings(stateful_step_count=30))


def test_many_attempts_in_one_heartbeat(raw_client: Any, prefix: str) -> None:
    keys = [f"{prefix}rs1:{{k{n}}}:idempotency:g:t" for n in range(3)]
    begin, heartbeat, now = script("idempotency.begin").text, script("idempotency.heartbeat").text, 10**15
    for key in keys[:2]:
        raw_client.eval(begin, 1, key, "a", "f", LEASE_US, KEEP_US, "", now)
    raw_client.set(keys[2], "something else", px=60_000)
    args = ["a", LEASE_US, "b", LEASE_US, "a", LEASE_US, now + 5]
    assert raw_client.eval(heartbeat, 3, *keys, *args) == [now + 5, now, 0, -2]
    assert raw_client.eval(begin, 1, keys[0], "b", "f", LEASE_US, KEEP_US, "", now + LEASE_US)[:3] == [0, now, 5]
    assert raw_client.eval(begin, 1, keys[1], "b", "f", LEASE_US, KEEP_US, "", now + LEASE_US)[0] == 1


def test_who_waited_and_took_over_is_told_nothing_later(raw_client: Any, prefix: str) -> None:
    key, begin = f"{prefix}rs1:{{k}}:idempotency:g:t", script("idempotency.begin").text
    for token, at, outcome in [("a", 0, NEW), ("b", 0, IN_PROGRESS), ("b", LEASE_US, NEW)]:
        assert raw_client.eval(begin, 1, key, token, "f", LEASE_US, KEEP_US, "box", 10**15 + at)[0] == outcome
    assert b"~b" not in raw_client.hkeys(key)
    abandon = script("idempotency.abandon").text
    for _ in range(2):
        assert raw_client.eval(abandon, 1, key, "b", "nothing", 10**15)[0] == 1
    assert raw_client.eval(begin, 1, key, "c", "f", LEASE_US, KEEP_US, "", 10**15)[0] == NEW
    assert raw_client.eval(abandon, 1, key, "b", "nothing", 10**15)[0] == 0


def test_no_more_than_a_thousand_are_told(raw_client: Any, prefix: str) -> None:
    key, begin = f"{prefix}rs1:{{k}}:idempotency:g:t", script("idempotency.begin").text
    pipeline = raw_client.pipeline(transaction=False)
    for n in range(1005):
        pipeline.eval(begin, 1, key, f"t{n}", "f", LEASE_US, KEEP_US, "box", 10**15)
    assert [reply[0] for reply in pipeline.execute()] == [1] + [0] * 1004
    assert raw_client.hlen(key) == 1000
    done = script("idempotency.complete").text
    assert raw_client.eval(done, 1, key, "t0", "f", KEEP_US, "here", "x", 10**15) == [1, 10**15]
    assert not [name for name in raw_client.hkeys(key) if name.startswith(b"~")]
