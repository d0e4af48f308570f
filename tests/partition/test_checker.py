"""The checker finds what it is to find, and nothing in a history that is right."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from riskscale.partition.calls import Change
from tests.partition.checker import Fault, History, Journal, check, longest

TTL = 900_000
BEAT = TTL // 3


def told(at: int, before: int, member: str, freed: list[int], taken: list[tuple[int, int]]) -> Change:
    return Change(at, before, 1, 2, 0, member, freed, taken, "")


def right() -> History:
    """a owns 0 and 1, gives 1 to b, and is killed; b takes 0 when a's lease has ended."""
    beats = range(1_000_000, 2_000_000, BEAT)
    a = Journal(leases=list(beats), gives=[(1, 1_000_000)], beliefs=[(1_000_100, {0: 1_000_000, 1: 1_000_000})])
    a.beliefs += [(at, {0: 1_000_000}) for at in range(1_200_000, 2_000_000, 30_000)]
    b = Journal(leases=[1_100_000, 1_200_010, 2_900_000], beliefs=[(1_100_100, {}), (1_300_000, {1: 1_200_010})])
    b.beliefs += [(at, {1: 1_200_010}) for at in range(1_330_000, 2_900_000, 30_000)]
    b.beliefs.append((2_910_000, {1: 1_200_010, 0: 2_900_000}))
    return History(
        ttl=TTL,
        changes=[
            told(1_000_000, 0, "a", [], [(0, 1_000_000), (1, 1_000_000)]),
            told(1_100_000, 1_000_000, "b", [], []),
            told(1_200_000, 1_100_000, "a", [1], []),
            told(1_200_010, 1_200_000, "b", [], [(1, 1_200_010)]),
            told(2_900_000, 1_200_010, "b", [0], [(0, 2_900_000)]),
        ],
        journals={"a": a, "b": b},
        faults=[Fault("kill", "a", 2_000_000)],
    )


def test_a_history_that_is_right() -> None:
    verdict = check(right())
    assert not verdict.violations
    assert (verdict.grants, verdict.orphans, verdict.longest) == (4, 2, 0.9)


def not_told(history: History) -> None:
    del history.changes[1]


def two_owners(history: History) -> None:
    history.changes[2].freed.clear()


def falling_epoch(history: History) -> None:
    history.changes[4].taken[0] = (0, 999_999)
    history.journals["b"].beliefs.pop()


def freed_early(history: History) -> None:
    history.journals["a"].leases.append(2_000_001)


def never_given_back(history: History) -> None:
    history.journals["a"].gives.clear()


def believed_too_long(history: History) -> None:
    history.journals["a"].beliefs.append((2_902_001, {0: 1_000_000}))


def invented(history: History) -> None:
    history.journals["b"].beliefs.append((2_920_000, {1: 7}))


def orphaned(history: History) -> None:
    history.faults[0] = Fault("stop", "a", 1_200_000)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (not_told, "was not told"),
        (two_owners, "and was a's"),
        (falling_epoch, "the epoch of 0 fell"),
        (freed_early, "0 of a was freed 1 us before its lease ended"),
        (never_given_back, "1 of a was freed"),
        (believed_too_long, "2001 us after b took it"),
        (invented, "which the server never said"),
        (orphaned, "0 had nobody for 1700000 us, more than"),
    ],
)
def test_what_is_wrong_is_found(spoil: Callable[[History], None], says: str) -> None:
    history = copy.deepcopy(right())
    spoil(history)
    found = check(history).violations
    assert found and all(says in each for each in found[:1]), found


def test_one_fault_after_the_other_counts_from_the_last() -> None:
    history = right()
    orphaned(history)
    history.faults.append(Fault("kill", "b", 2_000_000))
    assert not check(history).violations


def test_who_was_continued_was_not_gone() -> None:
    history = right()
    history.faults[:0] = [Fault("stop", "a", 1_500_000), Fault("cont", "a", 1_600_000)]
    assert not check(history).violations


def test_a_stall_is_no_stop() -> None:
    history = right()
    assert longest(history.stalls()) == 199_900 and longest(history.stalls(), 2_000_000) == 30_000
    history.journals["b"].beliefs = [(1_000_000, {}), (1_500_000, {})]
    assert longest(history.stalls()) == 500_000
    history.faults.append(Fault("stop", "b", 1_200_000))
    assert longest(history.stalls()) < 500_000
