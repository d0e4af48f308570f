"""Key names cannot be forged: no two names meet, however hostile."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from riskscale import ArgumentError, Limit
from riskscale._core.keys import base_key, check_prefix, name_part, names_of, tag_part
from riskscale.fence.calls import GuardKeys
from riskscale.idempotency.calls import record_key
from riskscale.limits.calls import LimitsCalls
from riskscale.lock.admin import ROLES, LockName, lock_name
from riskscale.lock.calls import LockKeys
from riskscale.rate.calls import Plan
from riskscale.semaphore.calls import SemaphoreKeys

OWN = 18
HOSTILE = [
    "a", "a:b", "{a}", "}a{", "a}:lock", "{", "}", "%", "%7B", "%7b", "{%7D}", "\x00", " ", "\n", "\x7f", ":", "::",
    "\u00e9", "e\u0301", "🔒", "a:rate:default:60s:gcra", "rs1:{a}", "rs1", "lock", "x" * 65536, "x" * 65535 + "y",
    "A", "\u0410", "semaphore", "rw", "election", "queue", "limits",
]  # fmt: skip
names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6))


def all_keys(name: str, tag: str | None, limiter: str, label: str) -> list[bytes]:
    """Every key that this release makes of some names: first those that no limit has part in."""
    base = base_key("rs1", name, tag)
    plan = Plan("rs1", Limit(1, per=1, name=label), limiter, tag)
    own = [*LockKeys.of(base).all, *LockKeys.of(base, "election").all, *GuardKeys.of(base).all]
    own += [*SemaphoreKeys.of(base).all, *SemaphoreKeys.of(base, "rw").all]
    own.append(LimitsCalls("rs1", name).key if tag is None else f"{base}:nothing".encode())  # they have no tag
    own.append(record_key("rs1", "alone" if tag is None else "tagged", tag or "tenant", name))  # nor have these
    assert len(own) == OWN
    return [*own, *plan.keys(name), plan.keys(name)[0] + b":refund:token"]


@example(one=("a", None, "l", "p"), two=("semaphore", "a", "l", "p"))  # a role must not look like a name
@example(one=("a", None, "l", "p"), two=("election", "a", "l", "p"))
@given(one=st.tuples(names, st.none() | names, names, names), two=st.tuples(names, st.none() | names, names, names))
def test_different_names_have_different_keys(one: tuple[str, ...], two: tuple[str, ...]) -> None:
    first, second = all_keys(*one), all_keys(*two)
    same_name, same_limit = one[:2] == two[:2], one == two
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        assert (a == b) == (i == j and (same_name if i < OWN else same_limit)), (one, two)


@given(name=names, tag=st.none() | names)
def test_the_hash_tag_is_the_name_and_nothing_else(name: str, tag: str | None) -> None:
    key = base_key("app:rs1", name, tag)
    assert key.count("{") == key.count("}") == 1
    assert re.fullmatch(r"app:rs1:\{[^{}]+\}(:[^{}]+)?", key, re.S)
    key.encode()


@given(name=names, tag=st.none() | names)
def test_names_can_be_read_back(name: str, tag: str | None) -> None:
    base = base_key("app:rs1", name, tag)
    assert names_of("app:rs1", base) == (name, tag)
    for role in ROLES:
        one = LockName(name, tag, role)
        keys = one.keys("app:rs1")
        assert keys == LockKeys.of(base, role)
        assert [lock_name("app:rs1", key) for key in keys.all] == [one, None, None]
        assert lock_name("app:rs1", keys.lock.decode()) == one
        assert lock_name("rs1", keys.lock) is lock_name("app:rs1c", keys.lock) is None


@given(limit=names, tenant=names, tag=st.none() | names)
def test_no_key_of_a_limit_is_read_as_a_lock(limit: str, tenant: str, tag: str | None) -> None:
    plan = Plan("rs1", Limit(1, per=1, name=limit), tenant, tag)
    assert {lock_name("rs1", key) for key in plan.keys(tenant)} == {None}


@given(one=st.tuples(names, names, names), two=st.tuples(names, names, names))
def test_no_tenant_has_a_record_of_another(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    first, second = record_key("rs1", *one), record_key("rs1", *two)
    assert (first == second) == (one == two)
    assert lock_name("rs1", first) is None


@given(base=st.from_regex(r"rs1:\{?[%0-9A-Fa-f:{} \x00]{1,8}\}?(:[%0-9A-Fa-f]{1,6})?", fullmatch=True))
def test_what_is_read_back_is_what_was_written(base: str) -> None:
    found = names_of("rs1", base)
    assert found is None or base_key("rs1", *found) == base


@pytest.mark.parametrize(
    "key",
    [
        "rs1:{}:lock", "rs1:{a}:b:c:lock", "rs1:{a}::lock", "rs1:{a}b:lock", "rs1:a:lock", "rs1:{a%7b}:lock",
        "rs1:{a%41}:lock", "rs1:{a%}:lock", "rs1:{a}:b%:lock", "rs1:{a b}:lock", "rs1:{a}:lock\n", b"rs1:{\xff}:lock",
        "rs1:{a}{b}:lock", "rs1:{%80}:lock",
    ],
)  # fmt: skip
def test_keys_that_no_lock_has(key: str | bytes) -> None:
    assert lock_name("rs1", key) is None


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
