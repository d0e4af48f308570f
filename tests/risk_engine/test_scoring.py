"""The rules, each alone and together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from risk_engine.profiles import seen_of
from risk_engine.scoring import features, score

from tests.risk_engine.parts import event

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)


def before(minutes: float, number: int = 0, **changes: Any) -> Any:
    return seen_of(event(f"b-{minutes}-{number}", timestamp=NOW - timedelta(minutes=minutes), **changes))


@pytest.mark.parametrize(
    ("changes", "history", "rules", "decision"),
    [
        ({}, [], [], "approve"),
        ({}, [before(1, n) for n in range(4)], [], "approve"),
        ({}, [before(1, n) for n in range(5)], ["velocity"], "approve"),
        ({}, [before(11, n) for n in range(20)], [], "approve"),
        ({}, [before(1, n) for n in range(10)], ["velocity"], "review"),
        ({"amount": "63"}, [before(90, n) for n in range(3)], ["unusual_amount"], "approve"),
        ({"amount": "62.50"}, [before(90, n) for n in range(3)], [], "approve"),
        ({"amount": "63"}, [before(90, n) for n in range(2)], [], "approve"),
        ({"amount": "10000"}, [], ["high_amount"], "approve"),
        ({}, [before(59, country="JP")], ["travel"], "review"),
        ({}, [before(61, country="JP")], [], "approve"),
        ({}, [before(59, country="JP"), before(5)], [], "approve"),
        ({"country": "IR"}, [], ["country"], "approve"),
        ({"country": "IR"}, [before(5, n) for n in range(1)], ["travel", "country"], "decline"),
        ({"amount": "1000", "merchant": "new"}, [before(90)], ["new_merchant"], "approve"),
        ({"amount": "1000"}, [before(90)], [], "approve"),
    ],
)
def test_rules(changes: dict[str, Any], history: list[Any], rules: list[str], decision: str) -> None:
    payment = event(timestamp=NOW, **changes)
    result = score(payment, features(payment, history))
    assert ([each.rule for each in result.reasons], result.decision) == (rules, decision)
    assert result.points == sum(each.points for each in result.reasons)


def test_points_end_at_a_hundred() -> None:
    payment = event(timestamp=NOW, amount="50000", country="KP", merchant="new")
    result = score(payment, features(payment, [before(1, n) for n in range(12)]))
    assert (result.points, result.decision, len(result.reasons)) == (100, "decline", 6)


@given(st.permutations(range(12)), st.integers(0, 11))
def test_an_event_is_scored_alike_whatever_came_after_it_and_in_which_order(order: list[int], which: int) -> None:
    events = [event(f"e-{n}", timestamp=NOW + timedelta(seconds=n), amount=Decimal(n + 1)) for n in range(12)]
    history = [seen_of(events[n]) for n in order]
    early = [seen_of(each) for each in events[:which]]
    assert features(events[which], history) == features(events[which], early)
