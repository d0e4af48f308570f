"""What a replica does with its loans, without I/O."""

from __future__ import annotations

import pytest
from hypothesis.stateful import run_state_machine_as_test

from riskscale.rate.limit import ALGORITHMS, Algorithm
from tests.rate.loans_machine import LoansMachine


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_replicas_keep_the_promise_together(algorithm: Algorithm) -> None:
    run_state_machine_as_test(type("Machine", (LoansMachine,), {"algorithm": algorithm}))
