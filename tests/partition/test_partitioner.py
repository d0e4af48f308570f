"""The same partition everywhere and for ever; balanced; and only what must move moves."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import ArgumentError, WorkloadPartitioner

VECTORS = json.loads((Path(__file__).parent.parent / "contract" / "partitioner.json").read_text())
STRATEGIES = ("modulo", "jump")
TENANTS = [f"tenant-{number}" for number in range(100_000)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_published_vectors(strategy: Any) -> None:
    seen = 0
    for vector in VECTORS["vectors"]:
        for count, expected in vector[strategy].items():
            assert WorkloadPartitioner(int(count), strategy=strategy).get_partition(vector["tenant"]) == expected
            seen += 1
    assert seen >= 60


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.integers(1, 2**31))
def test_the_plain_one_is_the_established_formula(tenant: str, count: int) -> None:
    expected = int(hashlib.sha256(tenant.encode()).hexdigest(), 16) % count
    assert WorkloadPartitioner(count).get_partition(tenant) == expected


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.integers(1, 5000), st.integers(1, 5000))
def test_jump_moves_only_to_what_is_new(tenant: str, one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    before = WorkloadPartitioner(fewer, strategy="jump").get_partition(tenant)
    after = WorkloadPartitioner(more, strategy="jump").get_partition(tenant)
    assert 0 <= before < fewer and 0 <= after < more
    assert after == before or after >= fewer


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [2, 7, 64, 1000])
def test_balanced(strategy: Any, count: int) -> None:
    """Chi-square, its normal approximation: beyond 4 deviations lies one fair hash of 30,000. The tenants are fixed."""
    partitioner = WorkloadPartitioner(count, strategy=strategy)
    sizes = Counter(map(partitioner.get_partition, TENANTS))
    expected = len(TENANTS) / count
    chi_square = sum((sizes[partition] - expected) ** 2 for partition in range(count)) / expected
    freedom = count - 1
    assert abs(math.sqrt(2 * chi_square) - math.sqrt(2 * freedom - 1)) < 4


def test_what_moves_when_one_is_added() -> None:
    tenants = TENANTS[:20_000]
    moved = {
        strategy: sum(
            WorkloadPartitioner(10, strategy=strategy).get_partition(tenant)
            != WorkloadPartitioner(11, strategy=strategy).get_partition(tenant)
            for tenant in tenants
        ) / len(tenants)
        for strategy in STRATEGIES
    }  # fmt: skip
    assert abs(moved["jump"] - 1 / 11) < 0.01 and abs(moved["modulo"] - 10 / 11) < 0.01


@pytest.mark.parametrize(
    ("argument", "act"),
    [
        ("num_partitions", lambda: WorkloadPartitioner(0)),
        ("num_partitions", lambda: WorkloadPartitioner(2**31 + 1)),
        ("num_partitions", lambda: WorkloadPartitioner(1.5)),
        ("num_partitions", lambda: WorkloadPartitioner(True)),
        ("strategy", lambda: WorkloadPartitioner(3, strategy="ring")),
        ("tenant_id", lambda: WorkloadPartitioner(3).get_partition("")),
        ("tenant_id", lambda: WorkloadPartitioner(3).get_partition(b"a")),
        ("tenant_id", lambda: WorkloadPartitioner(3).get_partition("\ud800")),
    ],
)
def test_bad_arguments(argument: str, act: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        act()
    assert caught.value.argument == argument
