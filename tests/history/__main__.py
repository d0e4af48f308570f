"""``python -m tests.history --seconds 60 [--seed n]``: a long run on a server of its own; 1 if its history is wrong."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from riskscale.testing import ServerProcess
from tests.history.checker import around
from tests.history.run import Outcome, run

SHOWN = 3
"""Violations that are shown with what happened around them."""


def summary(outcome: Outcome) -> str:
    """One line."""
    verdict = outcome.verdict
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.faults.items()))
    ends = ", ".join(f"{count} {how or 'cut off'}" for how, count in sorted(verdict.ends.items()))
    p99 = verdict.waits[int(len(verdict.waits) * 0.99)] if verdict.waits else 0.0
    return (
        f"{verdict.grants} grants, {verdict.judged} of them while others waited; faults: {faults or 'none'}; "
        f"attempts: {ends}; waits: worst {max(verdict.waits, default=0.0):.3f} s, p99 {p99:.3f} s; "
        f"worst stall {outcome.history.stall / 1e6:.3f} s"
    )


def report(outcome: Outcome) -> str:
    """The first violations, each with the events around it."""
    violations = outcome.verdict.violations
    lines = [f"{len(violations)} violations"]
    for violation in violations[:SHOWN]:
        lines += ["", str(violation), *around(violation, outcome.history)]
    return "\n".join([*lines, *map(str, violations[SHOWN:50])])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.history", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end what was started, as after Ctrl-C
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="riskscale-history-"))
    with ServerProcess() as server:
        outcome = asyncio.run(run(server, folder, seconds=options.seconds, seed=seed))
    print(f"seed {seed}: {summary(outcome)}")
    if outcome.verdict.violations:
        print(f"{report(outcome)}\nthe journals are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
