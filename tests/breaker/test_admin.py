"""Which breakers there are, and what is published of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskscale import BreakerPolicy, CircuitBreaker, Hub, Lock
from riskscale.breaker.admin import breaker_keys, breaker_name, breakers_channel, pattern, transition_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(name=NAMES)
def test_a_breaker_is_known_by_its_key(name: str) -> None:
    keys = breaker_keys("app:rs1", name)
    assert [breaker_name("app:rs1", key) for key in keys.all] == [name, None, None, None]
    assert breaker_name("rs1", keys.breaker) is None and breaker_name("app:rs1", b"\xff") is None


def test_other_keys_are_no_breakers() -> None:
    for key in ("rs1:{a}:lock", "rs1:{a}:b:breaker", "rs1:{a}:breaker:x", "rs1:{}:breaker", "rs1c:{a}:breaker"):
        assert breaker_name("rs1", key) is None


async def test_they_are_found_and_followed(client: Any, prefix: str, raw_client: Any) -> None:
    policy = BreakerPolicy(consecutive_failures=1)
    names = ["payments", "a {strange} name: 100%", "übung"]
    with raw_client.pubsub(ignore_subscribe_messages=True) as heard:
        async with Hub(client, key_prefix=prefix) as hub:
            heard.subscribe(breakers_channel(hub.root))
            for name in names:
                breaker = CircuitBreaker(name=name, policy=policy, redis=hub)
                await breaker.call(str)
                await breaker.force_open(60, "for  a\nreason")
            async with Lock(hub, "payments", ttl=10):
                found = {breaker_name(hub.root, key) for key in raw_client.scan_iter(pattern(hub.root))}
            assert found == set(names)
            for name in names:
                message = None
                while message is None:
                    message = heard.get_message(timeout=5)
                transition = transition_of(hub.root, message["data"])
                assert transition and (transition.breaker, transition.reason) == (name, "for  a\nreason")
                assert transition.forced and transition.after == "open"


@pytest.mark.parametrize("message", ["", "rs1:{a}:breaker", "rs1:{a}:breaker open", "rs1:{a}:lock lost", b"\xff \xff"])
def test_what_is_none_of_ours(message: str | bytes) -> None:
    assert transition_of("rs1", message) is None
