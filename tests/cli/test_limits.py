"""``riskscale limits``: what an operator types, and what a service makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from riskscale import Limit
from riskscale._core.acl import setuser_line
from riskscale.limits.calls import LimitsCalls
from riskscale.sync import Hub, RateLimiter, RedisLimits
from tests.backends import ServerBackend
from tests.cli.command import json_line, url_of

HOSTILE = "a:{b}\x1b[2J\n%é"
Run = Callable[..., Any]
pytestmark = pytest.mark.server


@pytest.fixture
def immortal_keys() -> tuple[str, ...]:
    """What an operator wrote: the header of limits.set says why."""
    return ("rs1*:limits",)


@pytest.fixture
def limits(backend: ServerBackend, prefix: str, run: Run) -> Run:
    def call(verb: str, *words: object) -> Any:
        return run("limits", verb, *words, "--redis", backend.url, "--key-prefix", prefix)

    return call


@pytest.fixture
def hub(backend: ServerBackend, prefix: str) -> Iterator[Hub]:
    with redis.Redis.from_url(backend.url) as client, Hub(client, key_prefix=prefix) as hub:
        yield hub


def test_set_get_unset(limits: Run, hub: Hub) -> None:
    def decided(name: str) -> int:
        source = RedisLimits(hub, name, default=Limit(7, per=60))
        return RateLimiter(hub, source, name=name).peek("tenant-7").limit.count

    assert limits("get", "tenant-7") == (1, "tenant-7: the default\n", "")
    assert limits("set", "tenant-7", "500/minute", "--name", "api") == (
        0, "tenant-7: 500/minute (was: the default)\n", "",
    )  # fmt: skip
    assert (decided("api"), decided("default")) == (500, 7)
    assert limits("get", "tenant-7", "--name", "api") == (0, "tenant-7: 500/minute\n", "")
    assert limits("get", "tenant-7").code == 1, "limits of another name"
    assert limits("set", "tenant-7", "10/second; 1000/hour", "--name", "api").out.endswith("(was: 500/minute)\n")
    assert json_line(limits("get", "tenant-7", "--name", "api", "--json").out) == {
        "tenant": "tenant-7", "limits": "10/second; 1000/hour", "problem": None,
    }  # fmt: skip
    assert limits("unset", "tenant-7", "--name", "api") == (
        0,
        "tenant-7: the default (was: 10/second; 1000/hour)\n",
        "",
    )
    assert limits("unset", "tenant-7", "--name", "api").code == 1
    none = limits("get", "tenant-7", "--json")
    assert none.code == 1 and json_line(none.out)["limits"] is None
    assert decided("api") == 7


def test_list(limits: Run, hub: Hub) -> None:
    assert json_line(limits("list", "--json").out) == {"limits": []}
    limits("set", HOSTILE, "5/s burst=9")
    limits("set", "b", "5/s")
    key = LimitsCalls(hub.root, "default").key
    hub.client.hset(key, mapping={"x": "lots\n\x1b[2J", b"\xff": "5/s"})
    found = json_line(limits("list", "--json").out)["limits"]
    assert [(each["tenant"], each["limits"]) for each in found] == [
        (HOSTILE, "5/s burst=9"), ("b", "5/s"), ("x", "lots??[2J"), ("\ufffd", "5/s"),
    ]  # fmt: skip
    assert [bool(each["problem"]) for each in found] == [False, False, True, False]
    shown = limits("list")
    assert shown.code == 0 and "\x1b" not in shown.out and "\\n%é" in shown.out and "character 1" in shown.out
    by_hand = limits("get", "x")
    assert by_hand.code == 0 and by_hand.out.count("\n") == 1 and "services go by the default" in by_hand.out
    assert "\x1b" not in limits("get", HOSTILE).out + limits("unset", HOSTILE).out


def test_bad_input_is_one_line(limits: Run, run: Run, hub: Hub) -> None:
    for words in (
        ("set", "a", ""), ("set", "a", "500"), ("set", "a", "x/minute"), ("set", "a", "5/s; 6"), ("set", "", "5/s"),
        ("set", "a", "5/s\n"), ("set", "a", "5/s" + " " * 2000), ("set", "\udcff", "5/s"), ("get", ""), ("unset", ""),
        ("set", "a", "5/s", "--name", ""), ("list", "--name", ""), ("set", "a"), ("set",), ("set", "a", "0/s"),
        ("set", "a", "5/s", "--burst", "3"),
    ):  # fmt: skip
        outcome = limits(*words)
        assert outcome.code == 2 and not outcome.out and outcome.err.count("\n") == 1, (words, outcome)
    assert not hub.client.exists(LimitsCalls(hub.root, "default").key)
    for words in (
        ("list",),
        ("set", "a", "5/s", "--redis", "http://x"),
        ("get", "a", "--redis", "redis://127.0.0.1:1"),
    ):
        outcome = run("limits", *words)
        assert outcome.code == 2 and outcome.err.count("\n") == 1 and "Traceback" not in outcome.err, words
    hub.client.set(LimitsCalls(hub.root, "default").key, "text", ex=60)
    for words in (("set", "a", "5/s"), ("get", "a"), ("unset", "a"), ("list",)):
        outcome = limits(*words)
        assert outcome.code == 2 and outcome.err.count("\n") == 1 and "another type" in outcome.err, words


@pytest.mark.owns_server
def test_a_services_user_may_look_and_an_operators_may_change(
    backend: ServerBackend, run: Run, prefix: str, sync_client: Any
) -> None:
    server = ("--redis", url_of(backend), "--key-prefix", prefix)
    assert run("limits", "get", "a", *server).code == 1
    for words in (("set", "a", "5/s"), ("unset", "a")):
        refused = run("limits", *words, *server)
        assert refused.code == 2 and refused.err.count("\n") == 1 and "--operator" in refused.err
    backend.admin.execute_command(*setuser_line(str(backend.user), "secret", prefix, operator=True).split(" "))
    backend.login["password"] = "secret"
    server = ("--redis", url_of(backend), "--key-prefix", prefix)
    assert run("limits", "set", "a", "5/s", *server).code == 0
    assert json_line(run("limits", "list", "--json", *server).out)["limits"][0]["limits"] == "5/s"
    assert run("locks", "list", *server).code == 0, "it may SCAN"
