"""The failing dependency of the demo: each check passes a sound story and fails one that breaks it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from riskscale.breaker.shared import ANSWER_US
from riskscale.breaker.state import BreakerState
from riskscale.cli.events import History, decode, encode
from riskscale.cli.outage import Changed, Outage, Tried

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
REFRESH = 0.25
WORK = [Tried(1, False, False, 0.5), Tried(2, False, False, 0.5)]
FAILS = [Tried(1, True, False, 1.0), Tried(1, True, False, 2.0), Changed(1, OPEN, False, 2.0)]
REFUSES = [Changed(2, OPEN, True, 2.25), Changed(1, OPEN, True, 2.3), Tried(2, None, False, 2.4)]
TRIES = [Changed(2, HALF_OPEN, True, 3.0), Tried(2, False, True, 3.1)]
RECOVERS = [Changed(2, CLOSED, True, 3.1), Changed(1, CLOSED, True, 3.3)]
SOUND = [*WORK, *FAILS, *REFUSES, *TRIES, *RECOVERS]


def verdicts(events: Iterable[Tried | Changed], stall_us: int = 0) -> list[bool]:
    outage = Outage()
    for event in events:
        outage.add(event)
    return [check.ok for check in outage.checks(2, REFRESH, stall_us)]


def test_a_sound_story() -> None:
    history = History()
    for event in SOUND:
        assert decode(encode(event)) == event
        history.add(decode(encode(event)))
    outage = history.outage
    assert [check.ok for check in outage.checks(2, REFRESH, 0)] == [True] * 3
    assert (outage.open_after, round(outage.closed_after, 3), outage.is_over(2)) == (0.25, 0.2, True)
    assert (outage.calls[1], outage.failures[1], outage.refused[2], outage.probes) == (3, 2, 1, [2])
    assert outage.states == {1: CLOSED, 2: CLOSED}


@pytest.mark.parametrize(
    ("events", "broken"),
    [
        ([], [0, 1, 2]),
        ([*WORK, *FAILS, *TRIES, *RECOVERS], [0]),
        ([*WORK, *FAILS, Changed(2, OPEN, True, 2.251), *TRIES, *RECOVERS], [0]),
        ([*WORK, Tried(2, True, False, 1.5), *FAILS, *REFUSES, *TRIES, *RECOVERS], [0]),
        ([*WORK, *FAILS, *REFUSES, *TRIES, *TRIES, *RECOVERS], [1]),
        ([*WORK, *FAILS, *REFUSES, *RECOVERS], [1]),
        ([*WORK, *FAILS, *REFUSES, *TRIES, RECOVERS[0]], [2]),
        ([*WORK, *FAILS, *REFUSES, *TRIES, RECOVERS[0], Changed(1, CLOSED, True, 3.351)], [2]),
    ],
)
def test_what_breaks_it(events: list[Tried | Changed], broken: list[int]) -> None:
    assert [number for number, ok in enumerate(verdicts(events)) if not ok] == broken


def test_a_stall_excuses_what_is_late_by_as_much() -> None:
    late = [*WORK, *FAILS, Changed(2, OPEN, True, 2.75), *TRIES, *RECOVERS]
    assert verdicts(late, 250_000)[0] and not verdicts(late, 249_000)[0]


def test_who_tries_alone_is_excused_while_the_server_is_silent() -> None:
    alone = [*WORK, *FAILS, *REFUSES, *TRIES, Changed(1, HALF_OPEN, False, 3.0), Tried(1, False, True, 3.1), *RECOVERS]
    assert verdicts(alone, ANSWER_US)[1] and not verdicts(alone, ANSWER_US - 1)[1]
