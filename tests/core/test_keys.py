"""Key names cannot be forged: no two names meet, however hostile."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import ArgumentError, Limit
from riskscale._core.keys import base_key, check_prefix, name_part, tag_part
from riskscale.fence.calls import GuardKeys
from riskscale.lock.calls import LockKeys
from riskscale.rate.calls import Plan

HOSTILE = [
    "a", "a:b", "{a}", "}a{", "a}:lock", "{", "}", "%", "%7B", "%7b", "{%7D}", "\x00", " ", "\n", "\x7f", ":", "::",
    "\u00e9", "e\u0301", "🔒", "a:rate:default:60s:gcra", "rs1:{a}", "rs1", "lock", "x" * 65536, "x" * 65535 + "y",
    "A", "\u0410",
]  # fmt: skip
names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6))


def all_keys(name: str, tag: str | None, limiter: str, label: str) -> list[bytes]:
    """Every key that this release makes of some names: five of a lock and a guard, then those of a limit."""
    base = base_key("rs1", name, tag)
    plan = Plan("rs1", Limit(1, per=1, name=label), limiter, tag)
    own = [*LockKeys.of(base).all, *GuardKeys.of(base).all]
    return [*own, *plan.keys(name), plan.keys(name)[0] + b":refund:token"]


@given(one=st.tuples(names, st.none() | names, names, names), two=st.tuples(names, st.none() | names, names, names))
def test_different_names_have_different_keys(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    first, second = all_keys(*one), all_keys(*two)
    same_name, same_limit = one[:2] == two[:2], one == two
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        assert (a == b) == (i == j and (same_name if i < 5 else same_limit)), (one, two)


@given(name=names, tag=st.none() | names)
def test_the_hash_tag_is_the_name_and_nothing_else(name: str, tag: str | None) -> None:
    key = base_key("app:rs1", name, tag)
    assert key.count("{") == key.count("}") == 1
    assert re.fullmatch(r"app:rs1:\{[^{}]+\}(:[^{}]+)?", key, re.S)
    key.encode()


def test_bytes_that_are_escaped() -> None:
    assert tag_part("a:b {%}\x00\x7f") == "{a:b%20%7B%25%7D%00%7F}"
    assert name_part("a:b") == "a%3Ab"
    assert base_key("rs1", "n:1", "t:1") == "rs1:{t:1}:n%3A1"


@pytest.mark.parametrize("name", ["", b"a", None, 7, "\ud800", "a\udfff"])
def test_names_that_are_refused(name: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        base_key("rs1", name, None, "tenant")  # type: ignore[arg-type]
    assert caught.value.argument == "tenant"


@pytest.mark.parametrize("prefix", ["a b", "{a}", "é", "a\n", b"a", None, "a%"])
def test_prefixes_that_are_refused(prefix: object) -> None:
    with pytest.raises(ArgumentError, match="key_prefix"):
        check_prefix(prefix)  # type: ignore[arg-type]
