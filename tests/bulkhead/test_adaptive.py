"""AdaptiveLimit beside the figures of Gradient2Limit, which were printed by the original (concurrency-limits, Java)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import AdaptiveLimit, ArgumentError

MS = 0.001
FULL = None
"""As many in flight as the limit admits."""

# Settings; phases of (samples, milliseconds, in flight); (after so many samples, limit, estimate, long average in ms).
TABLES: dict[str, tuple[dict[str, Any], list[tuple[int, int, int | None]], list[tuple[int, int, float, float]]]] = {
    "it grows by 0.8 a sample, up to the maximum": (
        {},
        [(300, 10, FULL)],
        [(1, 20, 20.8, 10), (2, 21, 21.6, 10), (5, 24, 24.0, 10), (10, 28, 28.0, 10), (300, 200, 200.0, 10)],
    ),
    "calls get four times as slow, and as fast again": (
        {},
        [(100, 10, FULL), (60, 40, FULL), (400, 10, FULL)],
        [
            (100, 100, 100.0, 10),
            (101, 90, 90.8, 10.099833610),
            (102, 82, 82.52, 10.199334996),
            (105, 62, 62.325080, 10.495856840),
            (110, 40, 40.078416489, 10.983517881),
            (160, 20, 20.0, 15.438081956),
            (161, 20, 20.8, 15.419985177),
            (170, 28, 28.0, 15.259800261),
            (560, 200, 200.0, 11.433461070),
        ],
    ),
    "no growth while less than half is used": (
        {},
        [(20, 10, 9), (20, 10, 10)],
        [(20, 20, 20.0, 10), (21, 20, 20.8, 10), (22, 20, 20.8, 10), (40, 20, 20.8, 10)],
    ),
    "the long average comes down fast after a long overload": (
        {"initial": 50, "min_limit": 1, "max_limit": 1000},
        [(1000, 100, FULL), (50, 10, FULL)],
        [
            (1000, 850, 850.0, 100),
            (1001, 850, 850.8, 94.715474209),
            (1002, 851, 851.6, 89.711881196),
            (1005, 854, 854.0, 76.241278588),
            (1010, 858, 858.0, 58.161094689),
            (1050, 890, 890.0, 19.261987603),
        ],
    ),
    "other settings": (
        {
            "initial": 10, "min_limit": 2, "max_limit": 30,
            "queue_size": 1, "smoothing": 0.5, "long_window": 20, "tolerance": 1.0,
        },
        [(15, 10, FULL), (15, 15, FULL), (15, 100, FULL), (30, 5, FULL)],
        [
            (1, 10, 10.5, 10),
            (15, 17, 17.5, 10),
            (16, 15, 15.361111111, 10.476190476),
            (17, 13, 13.765358613, 10.907029478),
            (20, 10, 10.984276486, 11.968611941),
            (30, 9, 9.890742694, 13.885744984),
            (31, 7, 7.918057020, 22.087102605),
            (40, 3, 3.071444255, 68.346764348),
            (45, 3, 3.657597263, 80.809351888),
            (46, 4, 4.157597263, 69.909942932),
            (75, 18, 18.657597263, 6.257580247),
        ],
    ),
}  # fmt: skip

# Uneven samples: milliseconds and in flight; then (limit, estimate) after each, with min_limit=5.
UNEVEN = [
    (7, 15), (25, 13), (29, 19), (43, 33), (11, 7), (45, 37), (33, 11), (29, 25), (47, 7), (31, 21), (13, 35), (5, 33),
    (11, 7), (7, 5), (5, 35), (1, 33), (35, 23), (7, 29), (15, 27), (7, 9), (23, 31), (27, 29), (3, 19), (13, 1),
    (31, 7), (9, 37), (33, 27), (23, 25), (37, 23), (29, 37), (41, 35), (33, 17), (11, 39), (17, 37), (21, 27),
    (31, 17), (17, 31), (41, 37), (41, 11), (17, 17),
]  # fmt: skip
UNEVEN_LIMITS = [
    20.8, 21.4336, 22.2336, 22.619951628, 22.619951628, 22.917286036, 22.917286036, 23.717286036, 23.717286036,
    24.517286036, 25.317286036, 26.117286036, 26.117286036, 26.117286036, 26.917286036, 27.717286036, 28.146282191,
    28.946282191, 29.746282191, 29.746282191, 30.546282191, 31.346282191, 32.146282191, 32.146282191, 32.146282191,
    32.946282191, 32.447598411, 33.247598411, 32.181969621, 32.466000788, 31.015730885, 30.662828387, 31.462828387,
    32.262828387, 33.062828387, 32.990124549, 33.790124549, 32.285665403, 32.285665403, 33.085665403,
]  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_the_figures_of_the_original(name: str) -> None:
    settings, phases, expected = TABLES[name]
    adaptive, seen = AdaptiveLimit(**settings), {}
    samples = [(ms, used) for many, ms, used in phases for _ in range(many)]
    for number, (ms, used) in enumerate(samples, 1):
        limit = adaptive.update(ms * MS, adaptive.limit if used is None else used)
        seen[number] = (limit, adaptive._estimate, adaptive._long / MS)
    for number, *figures in expected:
        assert seen[number] == pytest.approx(figures, rel=1e-8), number


def test_the_figures_of_the_original_for_uneven_samples() -> None:
    adaptive = AdaptiveLimit(min_limit=5)
    for (ms, used), estimate in zip(UNEVEN, UNEVEN_LIMITS, strict=True):
        assert adaptive.update(ms * MS, used) == int(estimate)
        assert adaptive._estimate == pytest.approx(estimate, rel=1e-8)


def test_the_long_average_of_the_original() -> None:
    """What its own test says of its average: plain over the first ten, smoothed from then on."""
    adaptive = AdaptiveLimit(long_window=100)
    plain = [10, 10.5, 11, 11.5, 12, 12.5, 13, 13.5, 14, 14.5]
    assert [adaptive._averaged(sample) for sample in range(10, 20)] == pytest.approx(plain)
    assert adaptive._averaged(100) == pytest.approx(16.2, abs=0.1)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1000)), min_size=1),
    st.integers(1, 50), st.integers(0, 50), st.integers(0, 50), st.floats(0.01, 1), st.floats(1, 5),
)  # fmt: skip
def test_it_stays_within_its_bounds_and_moves_in_steps(
    samples: list[tuple[float, int]], low: int, above: int, more: int, smoothing: float, tolerance: float
) -> None:
    adaptive = AdaptiveLimit(low + above, low, low + above + more, smoothing=smoothing, tolerance=tolerance)
    limits = [float(adaptive.limit), *(adaptive.update(*sample) and adaptive._estimate for sample in samples)]
    for one, two in itertools.pairwise(limits):
        assert low <= two <= low + above + more
        assert one * (1 - smoothing / 2) - 1e-9 <= two <= one + 4 * smoothing + 1e-9


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("max_limit", {"max_limit": 0}),
        ("min_limit", {"min_limit": 201}),
        ("min_limit", {"min_limit": 0}),
        ("initial", {"initial": 19}),
        ("initial", {"initial": 20.5}),
        ("queue_size", {"queue_size": -1}),
        ("smoothing", {"smoothing": 0}),
        ("smoothing", {"smoothing": 1.1}),
        ("smoothing", {"smoothing": float("nan")}),
        ("long_window", {"long_window": 0}),
        ("tolerance", {"tolerance": 0.9}),
        ("tolerance", {"tolerance": "2"}),
    ],
)
def test_bad_arguments(argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        AdaptiveLimit(**given)
    assert caught.value.argument == argument
