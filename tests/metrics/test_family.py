"""Whatever the events, each is in one series, and there are no more than said: a family over a ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from riskscale.metrics import Kind, Metric
from riskscale.metrics.series import OTHER, Bounds, Family, Tell

METRIC = Metric(
    name="x",
    kind=Kind.COUNTER,
    unit="1",
    labels={"tenant": (), "limiter": (), "outcome": ("yes", "no")},
    help="of nothing",
    otel="x",
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {"outcome": st.sampled_from(["yes", "no"])},
        optional={
            "tenant": st.sampled_from([OTHER, *"abcdefgh"]),
            "limiter": st.sampled_from(["api", "login", "search"]),
            "unheard_of": st.just("x"),
        },
    ),
    max_size=150,
)


class Ledger:
    """A backend that knows what it was told, of series that there still are and of those that were let go."""

    def __init__(self, forgets: bool) -> None:
        self.live: dict[tuple[str, ...], float] = {}
        self.gone = 0.0
        self._forgets = forgets

    def series(self, values: tuple[str, ...]) -> Tell:
        assert values not in self.live, "made twice"
        self.live[values] = 0.0

        def tell(value: float) -> None:
            self.live[values] += value

        return tell

    def forget(self, values: tuple[str, ...]) -> bool:
        if self._forgets:
            self.gone += self.live.pop(values)
        return self._forgets


class Metered:
    """A family and its ledger."""

    def __init__(self, forgets: bool, options: Mapping[str, object]) -> None:
        self.ledger = Ledger(forgets)
        self.family = Family(METRIC, Bounds(self._evict, options), self.ledger)  # type: ignore[arg-type]

    def tell(self, labels: Mapping[str, str]) -> None:
        self.family.of(labels)(1)

    def _evict(self, label: str, value: str) -> None:
        self.family.evict(label, value)


@given(EVENTS, st.integers(1, 8))
def test_without_a_top(events: list[dict[str, str]], max_series: int) -> None:
    metered, exact = Metered(True, {"max_series": max_series, "drop": ()}), Counter[tuple[str, ...]]()
    for labels in events:
        metered.tell(labels)
        exact[labels.get("tenant", ""), labels.get("limiter", ""), labels["outcome"]] += 1
    live = metered.ledger.live
    assert len(live) <= max_series + 2 and sum(live.values()) == len(events)
    for outcome in ("yes", "no"):
        told = sum(many for values, many in live.items() if values[2] == outcome)
        assert told == sum(many for values, many in exact.items() if values[2] == outcome)
    if len(exact) <= max_series:
        assert live == exact


@given(EVENTS, st.integers(1, 3), st.booleans())
def test_with_a_top(events: list[dict[str, str]], places: int, forgets: bool) -> None:
    metered = Metered(forgets, {"top": {"tenant": places}, "max_series": 30, "drop": ()})
    told = Counter[str]()
    for labels in events:
        metered.tell(labels)
        told[labels.get("tenant", "")] += 1
    live = metered.ledger.live
    assert sum(live.values()) + metered.ledger.gone == len(events)
    named = {values[0] for values in live} - {OTHER}
    assert len(live) <= 30 + 2 and (len(named) <= places or not forgets)
    for tenant in named:
        assert sum(many for values, many in live.items() if values[0] == tenant) <= told[tenant]


@given(EVENTS)
def test_labels_that_are_left_out(events: list[dict[str, str]]) -> None:
    metered, exact = Metered(True, {"drop": ("tenant", "limiter")}), Counter[tuple[str, ...]]()
    for labels in events:
        metered.tell(labels)
        exact[(labels["outcome"],)] += 1
    assert metered.ledger.live == exact
