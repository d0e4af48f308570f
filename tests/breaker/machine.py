"""Drives the breaker's scripts and their model side by side, in virtual time: replicas of several policies that know
the present, the past, nothing, or what the server has lost; keys that are lost; a clock that steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskscale._core.scripts import script
from riskscale.breaker import calls
from riskscale.breaker._model import Circuit, Item, Known, Step
from riskscale.breaker._pool import Pool
from riskscale.breaker.calls import BreakerKeys, Snapshot
from riskscale.breaker.policy import Rules
from riskscale.breaker.state import ADMITTING, BreakerState, Counts

START = 10**15
SERIAL = itertools.count()
SECOND = 1_000_000

POLICIES = (
    Rules(3, 10, 0, 0, 0, 1, 10 * SECOND, 10 * SECOND, 200, 35 * SECOND, 1, 0, 5 * SECOND),
    Rules(0, 4, 500_000, 0, 0, 1, 10 * SECOND, 10 * SECOND, 150, 100 * SECOND, 3, 20 * SECOND, 5 * SECOND),
    Rules(3, 4, 333_333, 500_000, SECOND, 2, 20_001_003, 7 * SECOND, 100, 7 * SECOND, 2, 0, 30 * SECOND),
    Rules(0, 3, 0, 500_000, SECOND, 3, 1000, 1000, 1000, 10**6, 1, 1000, 1000),
)
COUNTS = st.builds(
    lambda calls, failures, slow: Counts(calls, min(failures, calls), min(slow, calls)),
    st.integers(0, 4), st.integers(0, 4), st.integers(0, 1),
)  # fmt: skip
AGES = st.sampled_from([0, 0, 0, 1, 999_999, 1_000_000, 9_000_000, 10_000_000, 2 * START])


def snapshot(circuit: Circuit, now_us: int) -> Snapshot:
    """What the scripts reply of it."""
    return Snapshot(
        circuit.state, circuit.before, circuit.generation, circuit.remaining_us(now_us), circuit.since_us,
        circuit.length_us, circuit.opens, circuit.forced, circuit.by, circuit.counts, circuit.policy, circuit.reason,
    )  # fmt: skip


class BreakerMachine(RuleBasedStateMachine):
    """Up to five replicas of one breaker."""

    client: ClassVar[Any]
    prefix: ClassVar[str]
    heard: ClassVar[Any]

    @initialize(policies=st.lists(st.sampled_from(POLICIES), min_size=1, max_size=2))
    def begin(self, policies: list[Rules]) -> None:
        self.now, self.policies = START, policies
        self.keys = BreakerKeys.of(f"{self.prefix}rs1:{{b{next(SERIAL)}}}")
        self.channel = f"{self.prefix}rs1:breakers"
        self.model = Pool(self.note)
        self.told: list[Snapshot] = []
        self.sequences = dict.fromkeys(range(5), 0)
        self.tokens: list[str] = []
        self.past: list[Known] = [Known()]

    def note(self) -> None:
        self.told.append(snapshot(self.model, self.now))

    def run(self, call: Any) -> Any:
        """The decoded reply; what was published meanwhile is what the model told."""
        self.told.clear()
        words = (*call.keys, *call.args, self.now)
        return self.client.eval(script(call.script).text, len(call.keys), *words)

    def contents(self) -> list[Any]:
        keys, client = self.keys, self.client
        hashes = [client.hgetall(key) for key in (keys.breaker, keys.window, keys.nodes)]
        return [*hashes, client.zrange(keys.probes, 0, -1, withscores=True)]

    def agree(self, reply: Any, fixed: list[int]) -> None:
        assert reply[: len(fixed)] == fixed
        assert Snapshot.of(reply[len(fixed) :]) == snapshot(self.model, self.now)
        for expected in self.told:
            message = None
            while message is None:
                message = self.heard.get_message(ignore_subscribe_messages=True, timeout=5)
            token, _, rest = message["data"].decode().partition(" ")
            assert token.encode() == self.keys.breaker and calls.heard(rest) == expected

    def step(self, who: int, data: st.DataObject) -> Step:
        return Step(data.draw(st.sampled_from(self.policies)), self.now, f"n{who}", data.draw(st.integers(0, 2)) * 250)

    def known(self, data: st.DataObject) -> Known:
        """The present, mostly."""
        model = self.model
        present = Known(model.generation, model.state, model.remaining_us(self.now))
        if present not in self.past:
            self.past.append(present)
        return data.draw(st.one_of(st.just(present), st.just(present), st.sampled_from(self.past)))

    @rule(seconds=st.sampled_from([0, 1, 1, 3, 5, 7, 10, 20, 35]), off=st.integers(-1, 1))
    def time_passes(self, seconds: int, off: int) -> None:
        self.now += max(0, seconds * SECOND + off)

    @rule(off=st.integers(-1, 1))
    def time_passes_until_it_ends(self, off: int) -> None:
        self.now += max(0, self.model.remaining_us(self.now) + off)

    @rule(by=st.sampled_from([1, 1000, 60 * SECOND]), seldom=st.integers(0, 5))
    def the_clock_goes_back(self, by: int, seldom: int) -> None:
        self.now -= 0 if seldom else by

    @rule(which=st.sampled_from(["all", "breaker", "window", "nodes", "probes"]), seldom=st.integers(0, 3))
    def keys_are_lost(self, which: str, seldom: int) -> None:
        if seldom:
            return
        lost = self.keys.all if which == "all" else (getattr(self.keys, which),)
        self.client.delete(*lost)
        if which in ("all", "breaker"):
            kept, self.model = self.model, Pool(self.note)
            if which == "breaker":
                self.model.nodes, self.model.slices, self.model.probes = kept.nodes, kept.slices, kept.probes
        if which == "window":
            self.model.slices.clear()
        if which == "nodes":
            self.model.nodes.clear()
        if which == "probes":
            self.model.probes.clear()

    @rule(
        who=st.integers(0, 4),
        data=st.data(),
        run=st.integers(0, 4),
        votes=st.booleans(),
        items=st.lists(st.builds(Item, AGES, COUNTS), max_size=3),
        again=st.integers(0, 4),
        kind=st.sampled_from([0, 0, 0, 1, 2, 3, None]),
    )
    def report(
        self, who: int, data: st.DataObject, run: int, votes: bool, items: list[Item], again: int, kind: int | None
    ) -> None:
        step, known = self.step(who, data), self.known(data)
        self.sequences[who] += min(1, again)
        probe = (data.draw(st.sampled_from(self.tokens)), kind) if self.tokens and data.draw(st.booleans()) else None
        self.reports(step, max(1, self.sequences[who]), known, run, votes, items, probe)

    def reports(
        self,
        step: Step,
        sequence: int,
        known: Known,
        run: int = 0,
        votes: bool = False,
        items: Sequence[Item] = (),
        probe: tuple[str, int | None] | None = None,
    ) -> None:
        call = calls.report(
            self.keys, step.by, sequence, known, run, votes, items, probe, step.rules, step.drawn, self.channel
        )
        reply = self.run(call)
        folded = self.model.report(step, sequence, known, run, votes, items, probe)
        self.agree(reply, [self.now, int(folded)])

    @rule(who=st.integers(0, 4), data=st.data(), again=st.integers(0, 3))
    def probe(self, who: int, data: st.DataObject, again: int) -> None:
        step, known = self.step(who, data), self.known(data)
        if again or not self.tokens:
            self.tokens.append(f"t{len(self.tokens)}")
        token = self.tokens[-1] if again else data.draw(st.sampled_from(self.tokens))
        self.asks(step, known, token)

    def asks(self, step: Step, known: Known, token: str) -> int:
        reply = self.run(calls.probe(self.keys, step.by, token, known, step.rules, step.drawn, self.channel))
        self.model.meet(step, known)
        seen = self.model.probe(step, token)
        self.agree(reply, [self.now, *seen])
        assert seen.admitted or seen.wait_us > 0
        return seen.admitted

    @rule(
        state=st.sampled_from(
            [BreakerState.OPEN, BreakerState.DISABLED, BreakerState.METRICS_ONLY, BreakerState.CLOSED]
        ),
        seldom=st.integers(0, 2),
    )
    def force(self, state: BreakerState, seldom: int) -> None:
        if seldom:
            return
        length_us = 0 if state is BreakerState.CLOSED else 15 * SECOND
        reply = self.run(calls.force(self.keys, "ann", state, length_us, "an  old\nfriend", self.channel))
        self.model.settle_clock(self.now)
        self.model.force(Step(self.policies[0], self.now, "ann"), state, length_us, "an  old\nfriend")
        self.agree(reply, [self.now])

    @rule()
    def reading_writes_nothing(self) -> None:
        before = self.contents()
        self.run(calls.read(self.keys, "b"))
        assert before == self.contents()

    @invariant()
    def read_shows_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        reply = self.run(calls.read(self.keys, "b"))
        model = self.model
        self.agree(reply[:15], [self.now])
        window_us = model.policy.window_us if model.policy else 60 * SECOND
        half_open = model.state is BreakerState.HALF_OPEN
        since = self.now - window_us
        seen = [each for each in model.nodes.values() if since < each.seen_us <= self.now]
        votes = sum(each.votes and each.generation == model.generation for each in seen)
        counts = model.trial if half_open else model.window(window_us, self.now)
        assert reply[15:] == [*counts, len(model.probes), len(seen), votes]
        info = calls.read(self.keys, "b").decode(reply)
        assert info.state is model.state and info.known == (model.generation > 0) and info.counts == counts

    @invariant()
    def it_is_as_promised(self) -> None:
        """Whatever happened before."""
        model = getattr(self, "model", None)
        if model is None:
            return
        assert model.remaining_us(self.now) <= max(model.length_us, 0)
        if model.state in ADMITTING or model.state is BreakerState.OPEN:
            assert not model.probes or not model.generation
