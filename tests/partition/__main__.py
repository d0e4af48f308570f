"""``python -m tests.partition --seconds 60 [--seed n]``: a long run, on its own server; 1 if its history is wrong."""

from __future__ import annotations

import argparse
import secrets
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from riskscale.testing import ServerProcess
from tests.partition.checker import check, longest
from tests.partition.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.partition", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end what was started, as after Ctrl-C
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="riskscale-partitions-"))
    with ServerProcess() as server:
        history = run(server.url, "", folder, seconds=options.seconds, seed=seed)
    verdict = check(history)
    faults = ", ".join(
        f"{count} {kind}" for kind, count in sorted(Counter(each.kind for each in history.faults).items())
    )
    print(
        f"seed {seed}: {verdict.grants} grants, {verdict.beliefs} beliefs; faults: {faults}; {verdict.orphans} times a "
        f"partition changed hands; longest without an owner {verdict.longest:.3f} s, ttl {history.ttl / 1e6:g} s; "
        f"worst stall {longest(history.stalls()) / 1e6:.3f} s"
    )
    if verdict.violations:
        print("\n".join([f"{len(verdict.violations)} violations", *verdict.violations[:50], f"journals: {folder}"]))
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
