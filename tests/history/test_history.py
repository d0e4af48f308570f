"""Eight processes, three locks, ten seconds of faults; what the server stamped is judged by tests.history.checker.

``make soak SECONDS=600`` runs longer.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from riskscale.testing import ServerProcess
from tests.history.__main__ import report, summary
from tests.history.run import run


@pytest.mark.owns_server
def test_a_history_with_faults(scratch_server: ServerProcess, tmp_path: Path) -> None:
    outcome = asyncio.run(run(scratch_server, tmp_path, seconds=10, seed=1))
    assert not outcome.verdict.violations, f"{summary(outcome)}\n{report(outcome)}"
    assert outcome.verdict.judged and set(outcome.faults) >= {"kill", "stop", "reset", "flush"}, summary(outcome)
