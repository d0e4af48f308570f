"""The scripts, and who may run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from riskscale import ArgumentError, StateError
from riskscale._core.acl import setuser_line
from riskscale._core.call import Call
from riskscale._core.scripts import manifest
from riskscale.cli.errors import is_noperm
from riskscale.limits.calls import Change, LimitsCalls
from riskscale.sync import Hub
from riskscale.testing import VirtualClock, fake_client, new_fake_server
from tests.backends import ServerBackend

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
TEXTS = st.sampled_from(["", "5/s", "10/second burst=20; 1000/hour"])
HOSTILE = ["a:{b}", "%", "\x00", "\n", " ", "é", "🔒", "__version__", "*", "x" * 10_000]


@pytest.fixture
def hub(raw_client: Any, prefix: str) -> Hub:
    return Hub(raw_client, key_prefix=prefix)


def everything(hub: Hub, calls: LimitsCalls) -> dict[str, str]:
    page = hub.run(calls.list(0))
    found = dict(page.limits)
    while page.cursor:
        page = hub.run(calls.list(page.cursor))
        found.update(page.limits)
    return found


@given(changes=st.lists(st.tuples(st.sampled_from("abc") | NAMES, TEXTS), max_size=12))
def test_against_a_dictionary(changes: list[tuple[str, str]]) -> None:
    clock, server = VirtualClock(), new_fake_server()
    with fake_client(server) as client, Hub(client, clock=clock) as hub:
        calls, model, version = LimitsCalls(hub.root, "api"), dict[str, str](), 0
        for number, (key, text) in enumerate(changes):
            clock.advance(us=-number % 3)
            change = hub.run(calls.set(key, text) if text else calls.unset(key))
            assert change.was == model.get(key, "") and change.at == clock() / 1e6
            assert change.version == max(version + 1, clock())
            model[key], version = text, change.version
            asked = [*model, "never set"]
            found = hub.run(calls.read(asked))
            assert found == (version, [model.get(each, "") for each in asked])
        assert everything(hub, calls) == {key: text for key, text in model.items() if text}


def test_hostile_names_and_many_of_them(hub: Hub) -> None:
    calls = LimitsCalls(hub.root, "a:{b} %")
    names = [*HOSTILE, *(f"tenant-{number}" for number in range(1200))]
    for name in names:
        hub.run(calls.set(name, f"{len(name)}/s"))
    assert everything(hub, calls) == {name: f"{len(name)}/s" for name in names}
    assert hub.run(calls.read(names[:512])).texts == [f"{len(name)}/s" for name in names[:512]]
    assert everything(hub, LimitsCalls(hub.root, "api")) == {}
    hub.client.delete(calls.key)


def test_what_somebody_wrote_by_hand(hub: Hub, raw_client: Any) -> None:
    calls = LimitsCalls(hub.root, "api")
    raw_client.hset(
        calls.key, mapping={"a": b"\xff\x00\n", "b": "x" * 2000, "c": "5/s", "": "nonsense", b"\xff": "5/s"}
    )
    assert hub.run(calls.read(["a", "b", "c", "d"])) == (0, ["???", "?", "5/s", ""])
    assert set(everything(hub, calls)) == {"a", "b", "c", "\ufffd"}
    change = hub.run(calls.set("a", "5/s"))
    assert change.was == "???" and change.version == hub.run(calls.read(["a"])).version > 10**15


def test_no_change_shortens_or_keeps_a_life(hub: Hub, raw_client: Any) -> None:
    calls = LimitsCalls(hub.root, "api")
    hub.run(calls.set("a", "5/s"))
    assert raw_client.pttl(calls.key) == -1
    hub.run(calls.unset("a"))
    assert hub.run(calls.read(["a"])).version, "the version stays, or a reader might see none rise"


def test_another_type(hub: Hub, raw_client: Any) -> None:
    calls = LimitsCalls(hub.root, "api")
    raw_client.set(calls.key, "text", ex=60)
    for call in (calls.set("a", "5/s"), calls.unset("a"), calls.read(["a"]), calls.list(0)):
        with pytest.raises(StateError):
            hub.run(call)
    assert raw_client.get(calls.key) == b"text"


@pytest.mark.parametrize("key", ["", b"a", None, "\ud800"])
def test_bad_keys(key: Any) -> None:
    calls = LimitsCalls("rs1", "api")
    makes: list[Callable[[], Call[Any]]] = [
        lambda: calls.set(key, "5/s"),
        lambda: calls.unset(key),
        lambda: calls.read([key]),
    ]
    for make in makes:
        with pytest.raises(ArgumentError, match="key"):
            make()


@pytest.mark.owns_server
@pytest.mark.server
def test_a_service_reads_and_an_operator_writes(
    backend: ServerBackend, sync_client: Any, prefix: str, operator: Callable[..., Change]
) -> None:
    operator("a", "5/s")
    calls = LimitsCalls(f"{prefix}rs1", "api")
    before = backend.admin.dump(calls.key)
    with Hub(sync_client, key_prefix=prefix) as service:
        assert service.run(calls.read(["a"])).texts == ["5/s"]
        for call in (calls.set("a", "9/s"), calls.unset("a")):
            with pytest.raises(redis.ResponseError) as refused:
                service.run(call)
            assert is_noperm(refused.value)
    assert backend.admin.dump(calls.key) == before
    user = f"{prefix}operator"
    backend.admin.execute_command(*setuser_line(user, "secret", prefix, operator=True).split(" "))
    with redis.Redis.from_url(backend.url, username=user, password="secret") as client:
        with Hub(client, key_prefix=prefix) as mine:
            assert mine.run(calls.set("a", "9/s")).was == "5/s" and everything(mine, calls) == {"a": "9/s"}
        assert list(client.scan_iter(f"{prefix}*"))
    backend.admin.acl_deluser(user)


def test_no_script_of_a_service_needs_what_writes_limits() -> None:
    scripts = manifest()["scripts"]
    users = {name for name, entry in scripts.items() if "HMSET" in entry["commands"]}
    assert users == {"limits.set"} and "operator" in scripts["limits.set"]["flags"]
    assert "+hmset" not in setuser_line("u", "p").split() and "+hmset" in setuser_line("u", "p", operator=True).split()
