"""The scripts decide as the model does, whatever happens in what order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from riskscale.breaker.state import Counts
from riskscale.breaker.window import CountWindow, TimeWindow
from tests.breaker.machine import BreakerMachine


@pytest.fixture
def heard(raw_client: Any, prefix: str) -> Iterator[Any]:
    pubsub = raw_client.pubsub()
    pubsub.subscribe(f"{prefix}rs1:breakers")
    while (pubsub.get_message(timeout=5) or {}).get("type") != "subscribe":
        pass
    yield pubsub
    pubsub.close()


def test_script_and_model_agree(raw_client: Any, prefix: str, heard: Any) -> None:
    machine = type("Machine", (BreakerMachine,), {"client": raw_client, "prefix": prefix, "heard": heard})
    examples = max(15, settings().max_examples // 3)  # each looks at everything after every step
    run_state_machine_as_test(machine, settings=settings(max_examples=examples))


STEPS = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 3)), max_size=80)


@given(steps=STEPS, size=st.integers(1, 12))
def test_a_window_by_count_is_exact(steps: list[tuple[int, int]], size: int) -> None:
    window, kinds = CountWindow(size), []
    for _, kind in steps:
        window.add(kind, 0)
        kinds = [*kinds, kind][-size:]
        assert window.counts(0) == (len(kinds), sum(k & 1 for k in kinds), sum(k >> 1 for k in kinds))
        assert window.calls == len(kinds)


@given(steps=STEPS)
def test_a_window_by_time_counts_nine_to_ten_tenths(steps: list[tuple[int, int]]) -> None:
    window, now, past = TimeWindow(1000), 10**9, []
    for gap, kind in steps:
        now += gap
        window.add(kind, now)
        past.append((now, kind))
        live = [k for at, k in past if at - at % 100 > now - 1000]
        assert window.counts(now) == Counts(len(live), sum(k & 1 for k in live), sum(k >> 1 for k in live))
        assert {at for at, _ in past if at > now - 900} <= {at for at, _ in past if at - at % 100 > now - 1000}
