"""The guard as its users meet it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import ArgumentError, Guard, Hub, HubClosed, Lock, StaleFence, StateError
from riskscale.testing import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "fencing.md").read_text()


async def test_older_holders_are_refused(hub: Hub, raw_client: Any) -> None:
    guard, lock = Guard(hub, "row"), Lock(hub, "row", ttl=10)
    async with lock.hold() as one:
        assert await guard.read(fence=one.fence) is None
        await guard.write("first", fence=one.fence)
        await guard.write(b"\x00\xff", fence=one.fence)
        assert await guard.read(fence=one.fence) == b"\x00\xff" == raw_client.get(guard.key)
    async with lock.hold() as two:
        await guard.write("é", fence=two.fence)
    for act in (guard.write("late", fence=one.fence), guard.read(fence=one.fence)):
        with pytest.raises(StaleFence) as caught:
            await act
        assert (caught.value.name, caught.value.fence, caught.value.mark) == ("row", one.fence, two.fence)
    assert raw_client.get(guard.key) == "é".encode()
    await guard.write("", fence=two.fence)
    assert await guard.read(fence=two.fence) == b"", "empty is not absent"


def test_older_holders_are_refused_in_threads(sync_hub: riskscale.sync.Hub, raw_client: Any) -> None:
    guard = riskscale.sync.Guard(sync_hub, "row", tag="t")
    guard.write("new", fence=8)
    for act in (lambda: guard.write("old", fence=7), lambda: guard.read(fence=7)):
        with pytest.raises(StaleFence):
            act()
    assert guard.read(fence=8) == b"new" == raw_client.get(guard.key)
    assert guard.key.endswith(b"{t}:row:value") and guard.name == "row"


async def test_a_newer_holder_that_has_read_is_not_overtaken(hub: Hub, raw_client: Any) -> None:
    guard = Guard(hub, "row")
    await guard.write("one", fence=1)
    assert await guard.read(fence=2) == b"one"
    with pytest.raises(StaleFence):
        await guard.write("two", fence=1)
    assert raw_client.get(guard.key) == b"one"


async def test_a_value_that_expires_leaves_its_fence(hub: Hub, raw_client: Any, prefix: str) -> None:
    guard = Guard(hub, "row")
    await guard.write("short", fence=2, ttl=0.001)
    while raw_client.exists(guard.key):
        pass
    assert await guard.read(fence=2) is None
    with pytest.raises(StaleFence):
        await guard.write("late", fence=1)
    await guard.write("an hour", fence=2, ttl=3600)
    assert 3_000_000 < raw_client.pttl(guard.key) <= 3_600_000
    await guard.write("for ever", fence=2)
    assert raw_client.pttl(guard.key) == raw_client.pttl(f"{prefix}rs1:{{row}}:fence") == -1


async def test_a_repeated_write_is_the_same_write(client: Any, prefix: str, raw_client: Any) -> None:
    """The reply is lost, and it is sent again."""

    class Deaf:
        def __init__(self) -> None:
            self.heard = False

        async def execute_command(self, *words: Any) -> Any:
            return await client.execute_command(*words)

        async def eval(self, *words: Any) -> Any:
            return await self.evalsha(*words, eval=True)

        async def evalsha(self, *words: Any, eval: bool = False) -> Any:  # noqa: A002
            reply = await (client.eval if eval else client.evalsha)(*words)
            if not self.heard:
                self.heard = True
                raise redis.ConnectionError("cut")
            return reply

    guard = Guard(Hub(Deaf(), key_prefix=prefix), "row")
    with pytest.raises(redis.ConnectionError):
        await guard.write("once", fence=3)
    assert raw_client.get(guard.key) == b"once"
    await guard.write("once", fence=3)
    assert await guard.read(fence=3) == b"once"


async def test_a_client_that_decodes(connect: Any, prefix: str) -> None:
    guard = Guard(Hub(connect(decode_responses=True), key_prefix=prefix), "row")
    await guard.write("é", fence=1)
    assert await guard.read(fence=1) == "é".encode()


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        *[("fence", {"fence": bad}) for bad in (0, -1, 2**53, 1.0, "7", True, None)],
        *[("value", {"value": bad}) for bad in (7, None, bytearray(b"a"), "\ud800")],
        *[("ttl", {"ttl": bad}) for bad in (0, 0.0009, -1, float("nan"), float("inf"), 1e9, "1", True)],
    ],
)
async def test_bad_input_names_the_argument(
    hub: Hub, raw_client: Any, prefix: str, argument: str, options: dict[str, Any]
) -> None:
    guard = Guard(hub, "row")
    with pytest.raises(ArgumentError) as caught:
        await guard.write(**{"value": "a", "fence": 1, **options})
    assert caught.value.argument == argument
    if argument == "fence":
        with pytest.raises(ArgumentError, match="fence"):
            await guard.read(**options)
    assert not list(raw_client.scan_iter(f"{prefix}*")), "something was sent"


@pytest.mark.parametrize("options", [{"name": ""}, {"name": b"a"}, {"name": "a", "tag": ""}])
async def test_bad_names_are_refused(hub: Hub, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="tag" if "tag" in options else "name"):
        Guard(hub, **options)


async def test_keys_that_hold_something_else(hub: Hub, raw_client: Any, prefix: str) -> None:
    guard = Guard(hub, "row")
    raw_client.set(f"{prefix}rs1:{{row}}:fence", "seven", px=60_000)
    for act in (guard.write("a", fence=1), guard.read(fence=1)):
        with pytest.raises(StateError, match="mark"):
            await act
    assert raw_client.get(guard.key) is None


async def test_a_closed_hub(client: Any) -> None:
    hub = Hub(client)
    guard = Guard(hub, "row")
    await hub.aclose()
    with pytest.raises(HubClosed):
        await guard.write("a", fence=1)


def test_the_example_of_the_document_runs(scratch_server: ServerProcess) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", DOC, re.M | re.S)
    env = {**os.environ, "REDIS_URL": scratch_server.url}
    done = subprocess.run(
        [sys.executable, "-c", example], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    refused, value = done.stdout.splitlines()
    fence, mark = re.fullmatch(r"refused: (\d+) < (\d+)", refused).groups()  # type: ignore[union-attr]
    assert int(fence) < int(mark) and value == "b'draft, revised'"


def test_what_the_document_names_is_there() -> None:
    assert all((ROOT / path).exists() for path in re.findall(r"`((?:tests|lua)/[\w/.]+)`", DOC))
    assert all((ROOT / "docs" / link).exists() for link in re.findall(r"\]\(([\w/.]+)\)", DOC))
