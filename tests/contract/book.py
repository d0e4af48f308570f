"""What a file of vectors is written with: calls are made, and what comes back is kept.

Each call runs on an embedded server. Where there is a reference model of the script it decides too, and no vector is
written on which the two do not agree. What a call changed in the keys is kept as well.
"""

from __future__ import annotations

import json
from typing import Any

import redis

from riskscale._core import keys as names
from riskscale._core.scripts import script
from riskscale.testing import fake_client, new_fake_server
from tests.contract.examples import NOW
from tests.contract.oracles import oracle_of
from tests.contract.vectors import FORMAT, State, give, held

SECOND = 1_000_000
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
MAX_NOW = 2**52
MAX_INT = 2**53 - 1

HOSTILE = "a b\t{c}%:d/ü漢🙂\x00\x7f"
"""What a name must be escaped for, and what it must not."""

Word = str | bytes | int


class Disagreement(Exception):
    """The script and its model do not reply the same."""


def keys_of(*roles: str, name: str = "job", tag: str | None = None) -> list[str]:
    """Keys as the contract spells them."""
    base = names.base_key("rs1", name, tag)
    return [f"{base}:{role}" for role in roles]


class Case:
    """One case, while it is written; calling it calls a script at ``now``, which only :meth:`wait` moves."""

    def __init__(self, client: Any, primitive: str, name: str) -> None:
        self._client, self._oracle = client, oracle_of(primitive)
        self.name, self.now = name, NOW
        self.steps: list[dict[str, Any]] = []

    def wait(self, microseconds: int) -> None:
        """Let time pass, or go back."""
        self.now += microseconds

    def given(self, states: dict[str, State | None]) -> None:
        """Put that into keys. The models know nothing of it: from here on the script alone decides."""
        for key, state in states.items():
            give(self._client, key, state)
        self._oracle = lambda verb: None
        self.steps.append({"given": {key: _state_json(state) for key, state in states.items()}})

    def __call__(self, name: str, keys: list[str], *args: Word, now: int | None = None) -> Any:
        """A call that is answered; what it changed stands behind it."""
        now = self.now if now is None else now
        words = [*(each if isinstance(each, bytes) else str(each) for each in args), str(now)]
        before = self._contents()
        reply = self._client.eval(script(name).text, len(keys), *keys, *words)
        model = self._oracle(name.partition(".")[2])
        if model is not None:
            expected = model(keys, words)
            if reply != expected:
                raise Disagreement(f"{self.name}: {name} {words}: {reply!r}, and the model: {expected!r}")
        after = self._contents()
        changed = {key: after.get(key) for key in sorted({*before, *after}) if before.get(key) != after.get(key)}
        self._add(name, keys, words, {"reply": _reply_json(reply)}, changed)
        return reply

    def refuses(self, error: str, name: str, keys: list[str], words: list[Word], *, shows: bool = False) -> None:
        """A call that is an error, beginning with those words, and changes nothing; all words, now_us too."""
        before, given = self._contents(), [each if isinstance(each, bytes) else str(each) for each in words]
        try:
            reply = self._client.eval(script(name).text, len(keys), *keys, *given)
        except redis.ResponseError as raised:
            if not f"{raised} ".startswith(f"{error} "):
                raise Disagreement(f"{name} {given}: {raised}, not {error}") from raised
            words_told = 2 if error.startswith("RSARG") else 1  # the second is the argument's name
            error = " ".join(str(raised).split(" ")[:words_told])
        else:
            raise Disagreement(f"{name} {given}: {reply!r}, not {error}")
        if self._contents() != before:
            raise Disagreement(f"{name} {given}: {error}, and it wrote")
        self._add(name, keys, given, {"error": error}, {key: before.get(key) for key in keys} if shows else {})

    def _add(
        self, name: str, keys: list[str], words: list[Any], outcome: dict[str, Any], states: dict[str, Any]
    ) -> None:
        step = {"script": name, "keys": keys, "args": [_text_json(word) for word in words], **outcome}
        state = {key: _state_json(each) for key, each in states.items()}
        self.steps.append({**step, **({"state": state} if state else {})})

    def _contents(self) -> dict[str, State | None]:
        return {key.decode(): held(self._client, key) for key in self._client.keys("*")}


class Book:
    """The vectors of one primitive."""

    def __init__(self, primitive: str) -> None:
        self.primitive = primitive
        self._cases: list[Case] = []

    def case(self, name: str) -> Case:
        """A new case, on an empty keyspace."""
        self._cases.append(Case(fake_client(new_fake_server()), self.primitive, name))
        return self._cases[-1]

    def text(self) -> str:
        """The file: a line a step."""
        cases = []
        for case in self._cases:
            steps = ",\n".join(f"    {_json(step)}" for step in case.steps)
            cases.append(f'  {{"name": {_json(case.name)}, "steps": [\n{steps}\n  ]}}')
        head = f'{{"format": {FORMAT}, "primitive": {_json(self.primitive)}, "cases": [\n'
        return head + ",\n".join(cases) + "\n]}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _text_json(value: str | bytes) -> Any:
    """Readable where it can be: bytes that are no printable text go as hex."""
    if isinstance(value, str):
        return value
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}
    return text if text.isprintable() else {"hex": value.hex()}


def _reply_json(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_reply_json(each) for each in reply]
    return reply if isinstance(reply, int) else _text_json(reply)


def _state_json(state: State | None) -> Any:
    if state is None:
        return None
    value = state.value
    if state.kind == "string":
        value = _text_json(value)
    elif state.kind == "list":
        value = [_text_json(each) for each in value]
    elif state.kind == "hash":
        value = {field: _text_json(value[field]) for field in sorted(value)}
    elif state.kind == "zset":
        value = {member: value[member] for member in sorted(value)}
    return {state.kind: value, **({} if state.expires else {"ttl": "none"})}
