"""Drives the fleet's scripts and their model side by side, in virtual time: reports that are late, repeated and out of
order, replicas that leave, die and come back, keys that are lost, a clock that steps."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from riskscale._core.scripts import script
from riskscale.fleet import calls
from riskscale.fleet._model import FleetModel, Replica, nearest_rank
from riskscale.fleet.calls import P99_PPM, PPM_PER_PERCENT, FleetKeys, Terms
from riskscale.fleet.histogram import ERROR, bucket_of
from riskscale.fleet.outbox import Batch
from riskscale.fleet.snapshot import FleetSnapshot

START = 10**15
SECOND = 1_000_000
SERIAL = itertools.count()
LATENCIES = st.lists(st.one_of(st.integers(0, 200), st.integers(0, 2**36 - 1)), max_size=6)
GAUGES = st.none() | st.integers(0, 10**9)


def histogram(latencies: list[int]) -> dict[int, int]:
    """As a replica would have counted them."""
    counts: dict[int, int] = {}
    for us in latencies:
        counts[bucket_of(us)] = counts.get(bucket_of(us), 0) + 1
    return counts


class FleetMachine(RuleBasedStateMachine):
    """Up to four replicas of one group."""

    client: ClassVar[Any]
    prefix: ClassVar[str]

    @initialize(window_us=st.sampled_from([60 * SECOND, 1000, 7_000_003]), ttl_us=st.sampled_from([15, 120]))
    def begin(self, window_us: int, ttl_us: int) -> None:
        self.now, self.terms = START, Terms(ttl_us * SECOND, window_us)
        self.keys = FleetKeys.of(f"{self.prefix}rs1:{{f{next(SERIAL)}}}")
        self.model = FleetModel(window_us)
        self.sequences = dict.fromkeys(range(4), 0)

    def run(self, call: Any) -> Any:
        words = (*call.keys, *call.args, self.now)
        return call.decode(self.client.eval(script(call.script).text, len(call.keys), *words))

    @rule(by=st.sampled_from([0, 1, 1, 5, 6, 15, 60, 120]), off=st.integers(-1, 1))
    def time_passes(self, by: int, off: int) -> None:
        self.now += max(0, by * SECOND + off)

    @rule(slices=st.sampled_from([1, 1, 9, 10, 11]), off=st.integers(-1, 1))
    def slices_pass(self, slices: int, off: int) -> None:
        """To the edge of one."""
        length = self.terms.window_us // 10
        self.now += max(0, slices * length - self.now % length + off)

    @rule(by=st.sampled_from([1, 1000, SECOND, 60 * SECOND, 3600 * SECOND]), seldom=st.integers(0, 2))
    def the_clock_goes_back(self, by: int, seldom: int) -> None:
        self.now -= 0 if seldom else by

    @rule(seldom=st.integers(0, 9))
    def the_server_forgets(self, seldom: int) -> None:
        if not seldom:
            self.client.delete(*self.keys.all)
            self.model = FleetModel(self.terms.window_us)

    @rule(
        who=st.integers(0, 3), step=st.sampled_from([1, 1, 1, 1, 5, 0, -1]), latencies=LATENCIES,
        share=st.integers(0, 6),
        cpu=GAUGES, queue=GAUGES, age_us=st.sampled_from([0, 0, 1, SECOND, 54 * SECOND, 2 * START]),
        observes=st.booleans(), leaves=st.integers(0, 7).map(lambda drawn: not drawn),
    )  # fmt: skip
    def report(
        self,
        who: int,
        step: int,
        latencies: list[int],
        share: int,
        cpu: int | None,
        queue: int | None,
        age_us: int,
        observes: bool,
        leaves: bool,
    ) -> None:
        sequence = max(1, self.sequences[who] + step)
        self.sequences[who] = max(sequence, self.sequences[who])
        failures = min(share, len(latencies))
        batch = Batch(sequence, 0.0, 0.0, histogram(latencies), failures, cpu, queue, observes, leaves)
        taken = self.run(calls.report(self.keys, f"replica-{who}", self.terms, batch, age_us))
        told = Replica(sequence, 0, self.terms.ttl_us, observes, cpu, queue)
        assert taken == self.model.report(
            f"replica-{who}", told, age_us, latencies, failures, leaves=leaves, now_us=self.now
        )

    @invariant()
    def the_snapshot_is_the_model_s(self) -> None:
        if not hasattr(self, "model"):
            return
        seen: FleetSnapshot = self.run(calls.snapshot(self.keys, self.terms))
        latencies, failures = self.model.within(self.now)
        alive = self.model.alive(self.now)
        assert (seen.requests, seen.failures) == (len(latencies), failures)
        assert seen.at == self.now / SECOND
        self.agree_on_members(seen, alive)
        self.agree_on_rates(seen, latencies, failures, any(each.observes for each in alive.values()))

    def agree_on_members(self, seen: FleetSnapshot, alive: dict[str, Replica]) -> None:
        assert {each.replica for each in seen.members} == set(alive)
        for member in seen.members:
            known = alive[member.replica]
            cpu = None if known.cpu_ppm is None else known.cpu_ppm / PPM_PER_PERCENT
            silent = max(0, self.now - known.seen_us) / SECOND
            assert member == (member.replica, silent, cpu, known.queue)
        queues = [each.queue for each in alive.values() if each.queue is not None]
        assert seen.queue_depth == (sum(queues) if queues else None)
        cpus = [each.cpu_ppm for each in alive.values() if each.cpu_ppm is not None]
        mean = None if not cpus else sum(cpus) / len(cpus) / PPM_PER_PERCENT
        assert (seen.cpu_usage_pct is None) == (mean is None)
        assert mean is None or abs(seen.cpu_usage_pct - mean) < 1e-6  # type: ignore[operator]
        is_new = self.model.kept_us(self.now) < self.terms.ttl_us
        assert seen.current_replicas == (None if is_new or not alive else len(alive))

    def agree_on_rates(self, seen: FleetSnapshot, latencies: list[int], failures: int, observed: bool) -> None:
        exact = nearest_rank(latencies, P99_PPM)
        if exact is None:
            idle = 0.0 if observed else None
            assert (seen.request_latency_p99_ms, seen.failure_rate) == (idle, idle)
        else:
            assert seen.request_latency_p99_ms is not None
            assert abs(1000 * seen.request_latency_p99_ms - exact) <= ERROR * exact + 1e-6 * exact
            assert seen.failure_rate == failures / len(latencies)

    @invariant()
    def what_is_over_is_swept(self) -> None:
        """No more than the window's slices, and those of one sweep before; every key expires."""
        if not hasattr(self, "model"):
            return
        assert all(self.client.pttl(key) > 0 for key in self.keys.all if self.client.exists(key))
        begins = {name.split(b"|")[0] for name in self.client.hkeys(self.keys.window)} - {b"swept_us"}
        swept = int(self.client.hget(self.keys.window, "swept_us") or 0)
        span = self.terms.window_us
        assert all(swept - span - span // 10 < int(begin) < swept + 2 * span for begin in begins)
