"""What is known of one check, in virtual time: whatever happens in which order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from riskscale import HealthStatus
from riskscale.health.checks import Check, Probe, Run

TIMEOUT, CACHE = 1.0, 3.0
PASS, FAIL = HealthStatus.PASS, HealthStatus.FAIL


class Asking(RuleBasedStateMachine):
    """Callers ask, and the check ends when it likes."""

    def __init__(self) -> None:
        super().__init__()
        check = Check(name="it", run=bool, critical=True, timeout=TIMEOUT, groups=frozenset({"ready"}))
        self.probe = Probe(check, CACHE)
        self.now = 0.0
        self.under_way: Run | None = None
        self.last: tuple[float, HealthStatus] | None = None

    @rule(seconds=st.sampled_from([0.0, 0.5, TIMEOUT, CACHE]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        run = self.probe.current(self.now)
        if run is None:
            assert self.under_way is None, "it was begun again while it runs"
            assert self.last is None or self.now - self.last[0] >= CACHE, "it was asked although it had just answered"
            self.under_way = self.probe.begin(self.now)
        elif run.report is not None:
            assert self.last is not None and self.now - self.last[0] < CACHE, "an old answer was told"
            assert self.probe.answer(run).status is self.last[1]
        else:
            assert run is self.under_way
            if self.now >= run.deadline:
                assert self.probe.answer(run).output == "no answer within 1 s"

    @precondition(lambda self: self.under_way)
    @rule(passes=st.booleans())
    def end(self, passes: bool) -> None:
        run, self.under_way = self.under_way, None
        assert run is not None
        in_time = self.now - run.began <= TIMEOUT
        self.probe.end(run, self.now, passes, None)
        self.last = self.now, PASS if passes and in_time else FAIL

    @invariant()
    def an_answer_is_never_late_and_well(self) -> None:
        run = self.probe.run
        if run is not None and run.report is not None and run.report.status is PASS:
            assert run.ended - run.began <= TIMEOUT


TestAsking = Asking.TestCase
