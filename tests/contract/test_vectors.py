"""The vectors: the Python core decides as they say, and they leave nothing out that a header says."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import riskscale.sync
from riskscale._core.keys import base_key
from riskscale._core.scripts import names, script
from tests.contract import broken
from tests.contract.bounds import telling
from tests.contract.slots import SCRIPTS, bounds, kind_of, outcome, outcomes, slot_names
from tests.contract.vectors import FOLDER, BadVector, Send, Step, failures, primitives, read


def through(hub: riskscale.sync.Hub) -> Send:
    """As the Python core sends a script: EVALSHA, and EVAL where the server does not know the digest."""

    def send(name: str, keys: list[bytes], args: list[bytes]) -> Any:
        each, client = script(name), hub.client
        return hub._send(client.evalsha, each.sha, client.eval, each.text, (len(keys), *keys, *args))

    return send


@pytest.fixture
def send(raw_client: Any, prefix: str) -> Any:
    with riskscale.sync.Hub(raw_client, key_prefix=prefix) as hub:
        yield through(hub)


@pytest.mark.parametrize("primitive", primitives())
def test_the_core_decides_as_the_vectors_say(primitive: str, send: Send, raw_client: Any, prefix: str) -> None:
    assert failures(primitive, send, raw_client, prefix) == []


# Nothing is left out

NEVER = {
    ("breaker.force", "generation"): {"0"},
    ("breaker.probe", "generation"): {"0"},
    ("breaker.report", "generation"): {"0"},
    ("breaker.force", "forced"): {"other"},
}
"""What a header says of a field that several scripts reply, and this one cannot."""


@cache
def steps() -> dict[str, list[Step]]:
    """Of each script."""
    found = defaultdict(list)
    for primitive in primitives():
        for case in read(primitive):
            for step in case.steps:
                if isinstance(step, Step):
                    found[step.script].append(step)
    return found


def decoded(name: str, reply: Any) -> list[Any]:
    return list(map(int, reply.split())) if SCRIPTS[name].get("reply") == "line" else reply


@pytest.mark.parametrize("name", names())
def test_each_outcome_of_each_field_is_in_a_vector(name: str) -> None:
    fixed = [field for field in SCRIPTS[name]["returns"] if "per" not in field]
    each = [field for field in SCRIPTS[name]["returns"] if "per" in field]
    seen = {(field["name"], "per" in field): set() for field in (*fixed, *each)}
    for step in steps()[name]:
        if step.reply is not None:
            reply = decoded(name, step.reply)
            fields = fixed + each * ((len(reply) - len(fixed)) // len(each) if each else 0)
            for field, value in zip(fields, reply, strict=True):
                assert isinstance(value, bytes if field["type"] == "string" else int), (field, reply)
                seen[field["name"], "per" in field].add(outcome(field, value))
    for field in (*fixed, *each):
        wanted = outcomes(field) - NEVER.get((name, field["name"]), set())
        assert wanted <= seen[field["name"], "per" in field], field


@pytest.mark.parametrize("name", names())
def test_each_error_is_in_a_vector(name: str) -> None:
    errors = {step.error for step in steps()[name]}
    wanted = {f"RSARG {slot['name']}" for slot in SCRIPTS[name]["args"] if telling(slot["type"], slot["name"])}
    wanted |= {"RSARG ARGV", "RSARG KEYS", *(word for word in SCRIPTS[name]["errors"] if word != "RSARG")}
    assert wanted - errors == set()


@pytest.mark.parametrize("name", names())
def test_each_argument_is_taken_at_its_edges_and_refused_beyond(name: str) -> None:
    taken, refused = defaultdict(set), defaultdict(set)
    for step in steps()[name]:
        if step.error.startswith("RSARG "):
            for word in step.args:
                refused[step.error].add(word)
        elif step.reply is not None:
            for slot, word in zip(slot_names(name, step.args), step.args, strict=True):
                taken[slot].add(word)
    for slot in {slot["name"] for slot in SCRIPTS[name]["args"]}:
        if ends := bounds(kind_of(name, slot)):
            low, high = ends
            assert {b"%d" % low, b"%d" % high} <= taken[slot], slot
            assert b"%d" % (high + 1) in refused[f"RSARG {slot}"], slot
            assert not low or b"%d" % (low - 1) in refused[f"RSARG {slot}"], slot


def test_every_state_of_a_breaker_is_in_a_vector() -> None:
    seen = {step.reply[2] for step in steps()["breaker.report"] if isinstance(step.reply, list)}
    assert seen == {b"closed", b"open", b"half_open", b"disabled", b"metrics_only"}


def test_names_stand_in_keys_as_the_table_says() -> None:
    table = json.loads((FOLDER / "keys.json").read_bytes())
    assert table["format"] == 1 and len(table["keys"]) > 30
    for row in table["keys"]:
        assert f"{base_key('rs1', row['name'], row['tag'])}:{row['role']}" == row["key"]


# The reader is strict


@pytest.mark.parametrize("what", {**broken.FILE, **broken.FORMAT})
def test_what_is_not_of_the_format_is_named(what: str, tmp_path: Path) -> None:
    change, said = {**broken.FILE, **broken.FORMAT}[what]
    _, vectors = broken.folders(tmp_path, broken.file(change))
    with pytest.raises(BadVector, match=said):
        read("fence", vectors)


@pytest.mark.parametrize("what", broken.ANSWER)
def test_what_the_server_does_not_answer_is_a_failure(
    what: str, tmp_path: Path, send: Send, raw_client: Any, prefix: str
) -> None:
    change, said = broken.ANSWER[what]
    _, vectors = broken.folders(tmp_path, broken.file(change))
    (failure,) = failures("fence", send, raw_client, prefix, vectors)
    assert failure.startswith("a case: step ") and said in failure


def test_the_good_vector_is_good(tmp_path: Path, send: Send, raw_client: Any, prefix: str) -> None:
    _, vectors = broken.folders(tmp_path, broken.file())
    assert failures("fence", send, raw_client, prefix, vectors) == []
    assert not raw_client.keys(f"{prefix}*")


def test_the_example_of_the_readme_is_of_the_format_and_true(
    tmp_path: Path, send: Send, raw_client: Any, prefix: str
) -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S)
    (tmp_path / "fence.json").write_text(example)
    assert failures("fence", send, raw_client, prefix, tmp_path) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadVector, match=r"lock\.json"):
        read("lock", tmp_path)
