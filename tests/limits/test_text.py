"""What an operator wrote, as a program with some default takes it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import ArgumentError, Limit
from riskscale.limits.text import LONGEST, understood, written

LOG = Limit(100, per=60)
BUCKET = Limit(10, per=1, algorithm="gcra", burst=20, name="burst")
WIDE = Limit(1000, per=3600, algorithm="sliding_window")


@pytest.mark.parametrize(
    ("text", "default", "limits"),
    [
        ("500/minute", [LOG], [Limit(500, per=60)]),
        ("500/hour", [LOG], [Limit(500, per=3600)]),
        ("5/s", [BUCKET], [Limit(5, per=1, algorithm="gcra", name="burst")]),
        ("5/m", [BUCKET], [Limit(5, per=60, algorithm="gcra", name="burst")]),
        ("5/s burst=9", [BUCKET], [Limit(5, per=1, algorithm="gcra", burst=9, name="burst")]),
        ("5/minute burst=9", [LOG], [Limit(5, per=60, algorithm="gcra", burst=9)]),
        ("7/h; 5/s", [BUCKET, WIDE], [Limit(7, per=3600, algorithm="sliding_window"),
                                      Limit(5, per=1, algorithm="gcra", name="burst")]),
        ("7/d", [BUCKET, WIDE], [Limit(7, per=86400, algorithm="gcra")]),
        ("20000000/h", [WIDE], [Limit(20_000_000, per=3600, algorithm="sliding_window")]),
    ],
)  # fmt: skip
def test_it_is_counted_as_the_default_is(text: str, default: list[Limit], limits: list[Limit]) -> None:
    assert understood(text, default) == tuple(limits)


@pytest.mark.parametrize(
    "text",
    ["", "x", "500", "500/minute;", ";", "0/s", "-1/s", "5/s; 6/s", "5/fortnight", "5/s\n", "5/s é", "5/s\x00", "?",
     "1/s;" * 40, " " * LONGEST + "5/s", "9" * 300 + "/s", "20000000/h", "5/s burst=0", "5/s; 5/m; 5/h burst"],
)  # fmt: skip
def test_nonsense(text: str) -> None:
    with pytest.raises(ArgumentError):
        understood(text, [LOG])


def test_what_is_no_text() -> None:
    for thing in (None, 5, b"5/s", ["5/s"]):
        with pytest.raises(ArgumentError, match="limits"):
            written(thing)  # type: ignore[arg-type]


@given(text=st.text(max_size=40))
def test_whatever_stands_there_is_limits_or_an_argument_error(text: str) -> None:
    with suppress(ArgumentError):
        assert understood(text, [LOG])
