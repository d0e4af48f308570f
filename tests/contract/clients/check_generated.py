"""Generated clients: each script called by name in TypeScript, Go and Java says what EVALSHA says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import redis

from riskscale._core.scripts import names, script
from riskscale.cli.generate import camel
from riskscale.testing import ServerProcess
from tests.contract.clients.toolchains import Harness
from tests.contract.clients.typed import call_of, keys_of, plain, reply_of
from tests.contract.examples import EXAMPLES, NOW
from tests.contract.vectors import FOLDER


@pytest.fixture
def client(server: ServerProcess) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        client.script_flush()
        yield client


@pytest.fixture(scope="module")
def harness(language: str, command: Callable[[str, str], list[str]], server: ServerProcess) -> Iterator[Harness]:
    harness = Harness(command(language, "harness"), server.url)
    yield harness
    harness.close()


def test_every_script_says_the_same(harness: Harness, client: redis.Redis) -> None:
    """Twice: first the server does not know the scripts, then it does."""
    for turn in range(2):
        for name in names():
            call = call_of(name, "typed:", NOW + turn)
            answer = harness.say(camel(name), call)
            keys = keys_of(name, "plain:")
            wanted = client.eval(script(name).text, len(keys), *keys, *EXAMPLES[name][1], NOW + turn)  # type: ignore[arg-type]
            assert plain(answer) == {"reply": plain(reply_of(name, wanted))}, name
            assert client.script_exists(script(name).sha) == [True]


def test_the_two_errors(harness: Harness, client: redis.Redis) -> None:
    call = call_of("lock.acquire", "typed:", NOW)
    said = harness.say("lockAcquire", {**call, "ttlUs": 999})
    assert said == {"error": {"word": "RSARG", "argument": "ttl_us"}}
    client.set(call["lockKey"], "no lock", px=60_000)
    assert harness.say("lockAcquire", call) == {"error": {"word": "RSSTATE", "argument": ""}}


def test_numbers_up_to_the_last_exact_one(harness: Harness, client: redis.Redis) -> None:
    call = {**call_of("fence.read", "typed:", NOW), "fence": 2**53 - 1, "nowUs": 2**52}
    said = plain(harness.say("fenceRead", call))["reply"]
    assert (said["fence"], said["atus"]) == (2**53 - 1, 2**52)


def test_load_loads_all(harness: Harness, client: redis.Redis) -> None:
    assert harness.say("load") == {"reply": None}
    assert all(client.script_exists(*(script(name).sha for name in names())))


def test_keys_are_spelled_as_the_table_says(harness: Harness) -> None:
    for row in json.loads((FOLDER / "keys.json").read_bytes())["keys"]:
        names = [row["name"]] if row["tag"] is None else [row["tag"], row["name"]]
        assert harness.say("key", ["", *names, row["role"]]) == {"reply": row["key"]}
    assert harness.say("key", ["app:", "job", "lock"]) == {"reply": "app:rs1:{job}:lock"}


@pytest.mark.parametrize("parts", [["a b", "job", "lock"], ["", "", "lock"], ["", "job", ""]])
def test_what_is_no_key(harness: Harness, parts: list[str]) -> None:
    argument = "key" if parts[0] == "" else "prefix"
    assert harness.say("key", parts) == {"error": {"word": "RSARG", "argument": argument}}
