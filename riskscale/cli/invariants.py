"""What must hold over all replicas together, checked on what they did. Pure: histories in, verdicts out.

All times are integer microseconds by the server's clock, stamped inside the scripts, so that no replica's clock and no
delay on the way can make a history look better, or worse, than it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Check(NamedTuple):
    """One invariant: whether it held, and the figures that say so."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One holding of a workflow's lock. ``end_us`` is None where no release was confirmed: its lease ran out."""

    workflow: str
    replica: int
    fence: int
    start_us: int
    ttl_us: int
    end_us: int | None = None

    @property
    def over_us(self) -> int:
        """When nobody could take it for running any more."""
        return self.start_us + self.ttl_us if self.end_us is None else self.end_us


def within_limit(admitted: Mapping[str, Iterable[int]], count: int, window_us: int) -> Check:
    """At most ``count`` admitted, by all replicas together, in any window (t - window_us, t] of any key."""
    name, most, total = "admitted in any window <= limit", 0, 0
    for stamps in map(sorted, admitted.values()):
        total += len(stamps)
        oldest = 0
        for newest, stamp in enumerate(stamps):
            while stamps[oldest] <= stamp - window_us:
                oldest += 1
            most = max(most, newest - oldest + 1)
    ok = 0 < most <= count
    return Check(name, ok, f"{most} of {count} at the most; {total:,} admitted" if total else "nothing was admitted")


def one_at_a_time(runs: Sequence[Run]) -> Check:
    """No workflow is run by two at once."""
    name = "no workflow run by two at once"
    for workflow, ordered in by_workflow(runs):
        for before, after in pairwise(ordered):
            if after.start_us < before.over_us:
                early = before.over_us - after.start_us
                who = f"replica {after.replica} began {early:,} us before replica {before.replica} was over"
                return Check(name, False, f"{workflow}: {who}")
    return Check(name, bool(runs), f"{len(runs):,} runs" if runs else "no workflow was run")


def fences_rise(runs: Sequence[Run]) -> Check:
    """Each lease of a lock has a higher fence than the lease before it."""
    name = "fences strictly rising"
    for workflow, ordered in by_workflow(runs):
        for before, after in pairwise(ordered):
            if after.fence <= before.fence:
                return Check(name, False, f"{workflow}: {after.fence} came after {before.fence}")
    return Check(name, bool(runs), f"{len(runs):,} leases" if runs else "no lock was taken")


def taken_over(runs: Sequence[Run], killed: Run | None, poll_us: int, stall_us: int) -> Check:
    """The lock of the killed replica goes to another within the rest of its lease.

    A waiter looks every ``poll_us``, and cannot look while its process or the server stands still: ``stall_us``.
    """
    name = "the killed replica's lock taken over within its lease"
    if killed is None:
        return Check(name, False, "no replica was killed while it held a lock")
    heir = successor(runs, killed)
    if heir is None:
        return Check(name, False, f"{killed.workflow}: nobody took it over")
    took, late = heir.start_us - killed.start_us, heir.start_us - killed.over_us
    detail = f"{killed.workflow}: replica {heir.replica} after {took / 1e6:.2f} s, lease {killed.ttl_us / 1e6:g} s"
    allowed = f" (and a poll of {poll_us / 1e6:g} s, worst stall {stall_us / 1e6:.2f} s)"
    return Check(name, 0 <= late <= poll_us + stall_us, detail + allowed)


def successor(runs: Iterable[Run], before: Run) -> Run | None:
    """The next run of the same workflow."""
    later = (run for run in runs if run.workflow == before.workflow and run.fence > before.fence)
    return min(later, key=lambda run: run.fence, default=None)


def by_workflow(runs: Iterable[Run]) -> Iterator[tuple[str, list[Run]]]:
    """Each workflow's runs in order of time; of two at one time, that which was over first comes first."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.workflow].append(run)
    for workflow, group in sorted(groups.items()):
        yield workflow, sorted(group, key=lambda run: (run.start_us, run.over_us))
