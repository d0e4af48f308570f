"""The merge is right: scripts and model agree in virtual time, and a bucket is off by no more than is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from riskscale._core.scripts import script
from riskscale.fleet.histogram import ERROR, TOP, bucket_of, middle_of
from tests.fleet.machine import START, FleetMachine, histogram


def test_scripts_and_model_agree(raw_client: Any, prefix: str) -> None:
    machine = type("Machine", (FleetMachine,), {"client": raw_client, "prefix": prefix})
    examples = max(15, settings().max_examples // 3)  # each looks at everything after every step
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30))


@given(st.integers(0, 2**36 - 1))
def test_a_bucket_stands_for_its_latencies(us: int) -> None:
    assert abs(middle_of(bucket_of(us)) - us) <= ERROR * us
    assert bucket_of(us) <= bucket_of(us + 1) <= bucket_of(us) + 1 <= TOP + 1


def test_the_bound_is_reached_and_the_ends_fit() -> None:
    assert max(abs(middle_of(bucket_of(us)) - us) / us for us in range(1, 5000)) == ERROR
    assert [bucket_of(us) for us in (0, 63, 64, 65, 66, 127, 128, 2**36 - 1, 2**36, 2**60)] == [
        0, 63, 64, 64, 65, 95, 96, TOP, TOP, TOP,
    ]  # fmt: skip
    assert [middle_of(bucket) for bucket in (0, 63, 64, 65)] == [0, 63, 65, 67]


@pytest.mark.parametrize("quantile_ppm", [1, 500_000, 900_000, 999_000, 1_000_000])
def test_any_quantile_can_be_asked_for(raw_client: Any, prefix: str, quantile_ppm: int) -> None:
    keys = [f"{prefix}rs1:{{q}}:fleet", f"{prefix}rs1:{{q}}:fleet-window"]
    latencies = [7 * number * number for number in range(1, 1200)]
    for who in range(3):
        pairs = [word for pair in histogram(latencies[who::3]).items() for word in pair]
        words = [f"r{who}", 1, 10**6, 10**6, 0, "", "", 1, 0, 0, *pairs, START]
        assert raw_client.eval(script("fleet.report").text, 2, *keys, *words) == [START, 1]
    found = raw_client.eval(script("fleet.snapshot").text, 2, *keys, 10**6, quantile_ppm, START)
    exact = latencies[-(-len(latencies) * quantile_ppm // 10**6) - 1]
    assert abs(found[3] - exact) <= ERROR * exact


def test_one_bucket_twice_in_a_report_counts_twice(raw_client: Any, prefix: str) -> None:
    keys = [f"{prefix}rs1:{{q}}:fleet", f"{prefix}rs1:{{q}}:fleet-window"]
    words = ["r", 1, 10**6, 10**6, 0, "", "", 1, 0, 3, 9, 2, 10, 1, 9, 2, START]
    assert raw_client.eval(script("fleet.report").text, 2, *keys, *words) == [START, 1]
    assert raw_client.eval(script("fleet.snapshot").text, 2, *keys, 10**6, 800_000, START)[1:4] == [5, 3, 9]


def test_what_somebody_wrote_by_hand_is_passed_over(raw_client: Any, prefix: str) -> None:
    keys = [f"{prefix}rs1:{{q}}:fleet", f"{prefix}rs1:{{q}}:fleet-window"]
    words = ["r", 1, 10**6, 10**6, 0, "", "", 1, 0, 0, 9, 2, START]
    assert raw_client.eval(script("fleet.report").text, 2, *keys, *words) == [START, 1]
    raw_client.hset(keys[0], mapping={"x": "y", "": "z"})
    raw_client.hset(
        keys[1], mapping={"x": "y", f"{START}|8": "many", f"{START}|1024": "1", f"{START}|what": "1", "1|2|3": "4"}
    )
    assert raw_client.eval(script("fleet.snapshot").text, 2, *keys, 10**6, 990_000, START)[:7] == [
        START, 2, 0, 9, 1, 0, b"r",
    ]  # fmt: skip
    words = ["r", 2, 10**6, 10**6, 0, "", "", 1, 0, 0, 9, 1, START + 10**7]
    assert raw_client.eval(script("fleet.report").text, 2, *keys, *words) == [START + 10**7, 1]
    assert raw_client.hget(keys[0], "x") is None, "swept"
