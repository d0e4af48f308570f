"""Each rate script decides as its model, whatever happens in what order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from riskscale._core.call import line
from riskscale._core.scripts import script
from riskscale.rate._model import MODELS, hit
from riskscale.rate.limit import ALGORITHMS, Algorithm, Limit
from tests.rate.machine import RateMachine

SETS: list[tuple[Algorithm, ...]] = [*((algorithm,) for algorithm in ALGORITHMS), ALGORITHMS]


@pytest.mark.parametrize("algorithms", SETS, ids=["-".join(each) if len(each) == 1 else "all_of" for each in SETS])
def test_script_and_model_agree(
    algorithms: tuple[Algorithm, ...], raw_client: Any, prefix: str, examples: settings
) -> None:
    machine = type("Machine", (RateMachine,), {"client": raw_client, "prefix": prefix, "algorithms": algorithms})
    run_state_machine_as_test(machine, settings=examples)


@given(steps=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 9)), max_size=60), count=st.integers(1, 20))
def test_the_sliding_window_is_late_by_less_than_a_bucket(steps: list[tuple[int, int]], count: int) -> None:
    """What the exact log would let through a bucket's width ago on all its stamps, the window lets through now."""
    window_us = 600
    window, log = MODELS["sliding_window"](), MODELS["sliding_log"]()
    limit = Limit(count, per=window_us / 1e6, algorithm="sliding_window")
    exact = Limit(count, per=window_us / 1e6)
    now = 10**15
    for gap, cost in steps:
        now += gap
        if cost > count:
            continue
        late, sharp = window.wait(limit, cost, now), log.wait(exact, cost, now)
        assert sharp <= late < sharp + 10
        if late == 0:
            window.take(limit, cost, now, now)
            log.take(exact, cost, now, now)


@pytest.mark.parametrize("seed", range(4))
def test_the_ring_wraps_and_grows(seed: int, raw_client: Any, prefix: str) -> None:
    """Thousands of hits, and refunds, of one key: around the ring's seam, through growth, with parts leaving."""
    random, now = Random(seed), 10**15
    admitted: list[tuple[int, int]] = []
    model, key = MODELS["sliding_log"](), f"{prefix}ring"
    limit = Limit(5, per=200e-6)
    for step in range(1500):
        if step % 150 == 149:
            limit = Limit(random.choice([2, 7, 40, 70, 150, 300]), per=random.choice([100e-6, 200e-6, 1e-3]))
        now += random.choice([0, 1, 3, 9, 30, 30, -5])
        items = [random.randint(1, max(1, min(limit.count // 3, 40))) for _ in range(random.randint(1, 3))]
        reply = raw_client.eval(
            script("rate.sliding_log").text,
            len(items),
            *[key] * len(items),
            limit.count,
            limit.window_us,
            1,
            *items,
            now,
        )
        expected = [n for cost in items for n in hit([model], [limit], cost, now)[0]]
        assert line(reply)[1:] == expected, (seed, step)
        admitted += [(now, cost) for cost, retry_us in zip(items, expected[::3], strict=True) if not retry_us]
        if admitted and not random.randrange(3):
            at, cost = admitted.pop(-random.randint(1, min(len(admitted), random.choice([1, 3, 40]))))
            words = [1, "sliding_log", limit.count, limit.window_us, 0, at, cost, now]
            back = raw_client.eval(script("rate.refund").text, 2, key, f"{key}:refund:{step}", *words)
            assert back[1:] == [model.refund(limit, cost, at, now)], (seed, step)
