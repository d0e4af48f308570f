"""The vectors: read strictly, and run through whatever sends a script. README.md beside this file has the format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import redis

from riskscale.errors import RiskscaleError
from tests.contract.slots import SCRIPTS

FOLDER = Path(__file__).resolve().parent
FORMAT = 1

Kind: TypeAlias = Literal["string", "hash", "zset", "list"]
Reply: TypeAlias = int | bytes | list[int | bytes]
Send: TypeAlias = Callable[[str, list[bytes], list[bytes]], Any]
"""Runs a script (its name, the keys, the arguments) and gives back what the server replied."""


class BadVector(ValueError):
    """A vector that is not of the format; the message says where."""


@dataclass(frozen=True, slots=True)
class State:
    """What a key holds."""

    kind: Kind
    value: Any
    expires: bool = True


States: TypeAlias = dict[str, State | None]
"""By the key without the prefix; None: there is no such key."""


@dataclass(frozen=True, slots=True)
class Given:
    """What is put into keys, or taken away."""

    states: States


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a script: what it replies, or the words with which its error begins; then what some keys hold."""

    script: str
    keys: list[str]
    args: list[bytes]
    reply: Reply | None
    error: str
    states: States


@dataclass(frozen=True, slots=True)
class Case:
    """Steps that begin on an empty keyspace."""

    name: str
    steps: list[Given | Step]


def primitives() -> list[str]:
    """Each has a file of vectors."""
    return sorted({name.partition(".")[0] for name in SCRIPTS})


def read(primitive: str, folder: Path = FOLDER) -> list[Case]:
    """The cases of one file.

    Raises:
        BadVector: it is missing, or anything in it is not of the format.
    """
    path = folder / f"{primitive}.json"
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadVector(f"{path.name}: {error}") from error
    _fields(path.name, found, {"format", "primitive", "cases"})
    if (found["format"], found["primitive"]) != (FORMAT, primitive):
        raise BadVector(f"{path.name}: format {found['format']!r} of {found['primitive']!r}")
    cases = [_case(f"{primitive}: {number}", each) for number, each in enumerate(_list(path.name, found["cases"]), 1)]
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise BadVector(f"{path.name}: two cases of one name")
    return cases


def _case(where: str, value: Any) -> Case:
    _fields(where, value, {"name", "steps"})
    name = _string(where, value["name"])
    return Case(name, [_step(f"{name}: step {at}", each) for at, each in enumerate(_list(where, value["steps"]), 1)])


def _step(where: str, value: Any) -> Given | Step:
    if isinstance(value, dict) and "given" in value:
        _fields(where, value, {"given"})
        return Given(_states(where, value["given"]))
    _fields(where, value, {"script", "keys", "args"}, {"reply", "error", "state"})
    script, keys = _string(where, value["script"]), [_string(where, key) for key in _list(where, value["keys"])]
    if ("reply" in value) == ("error" in value):
        raise BadVector(f"{where}: either reply or error")
    entry = SCRIPTS.get(script)
    if entry is None:
        raise BadVector(f"{where}: there is no script {script}")
    error = _string(where, value["error"]) if "error" in value else ""
    if not error.startswith("RSARG KEYS") and not takes(entry, len(keys)):
        raise BadVector(f"{where}: {script} does not take {len(keys)} keys")
    return Step(
        script,
        keys,
        [_bytes(where, arg) for arg in _list(where, value["args"])],
        _reply(where, value["reply"]) if "reply" in value else None,
        error,
        _states(where, value.get("state", {})),
    )


def takes(entry: dict[str, Any], count: int) -> bool:
    """Whether the header's KEYS can be so many."""
    slots = entry["keys"]
    if all("each" not in slot for slot in slots):
        return count == len(slots)
    groups, rest = divmod(count, len(slots))
    low, high = map(int, re.findall(r"\d+", slots[0]["bound"])[:2])
    return rest == 0 and low <= groups <= high


def _reply(where: str, value: Any) -> Reply:
    if isinstance(value, list):
        return [_scalar(where, each) for each in value]
    return _scalar(where, value)


def _scalar(where: str, value: Any) -> int | bytes:
    return value if isinstance(value, int) and not isinstance(value, bool) else _bytes(where, value)


def _states(where: str, value: Any) -> States:
    if not isinstance(value, dict):
        raise BadVector(f"{where}: a state is an object")
    return {key: None if each is None else _state(f"{where}: {key}", each) for key, each in value.items()}


def _state(where: str, value: Any) -> State:
    kinds = {"string", "hash", "zset", "list"} & set(value if isinstance(value, dict) else ())
    if len(kinds) != 1:
        raise BadVector(f"{where}: must be null, or one of string, hash, zset, list, not {value!r}")
    (kind,) = kinds
    _fields(where, value, {kind}, {"ttl"})
    if value.get("ttl", "none") != "none":
        raise BadVector(f"{where}: the only ttl is none")
    held = value[kind]
    if kind == "string":
        held = _bytes(where, held)
    elif kind == "list":
        held = [_bytes(where, each) for each in _list(where, held)]
    elif kind == "hash":
        held = {field: _bytes(where, each) for field, each in held.items()}
    return State(kind, held, "ttl" not in value)


def _bytes(where: str, value: Any) -> bytes:
    """A text of the format: a string, as UTF-8, or ``{"hex": "00ff"}``."""
    if isinstance(value, str):
        return value.encode()
    _fields(where, value, {"hex"})
    try:
        return bytes.fromhex(_string(where, value["hex"]))
    except ValueError as error:
        raise BadVector(f"{where}: {error}") from error


def _fields(where: str, value: Any, needed: Collection[str], allowed: Collection[str] = ()) -> None:
    if not isinstance(value, dict):
        raise BadVector(f"{where}: must be an object, not {value!r}")
    for name in value:
        if name not in needed and name not in allowed:
            raise BadVector(f"{where}: unknown field {name!r}")
    for name in sorted(needed):
        if name not in value:
            raise BadVector(f"{where}: no field {name!r}")


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadVector(f"{where}: must be an array, not {value!r}")
    return value


def _string(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadVector(f"{where}: must be a string, not {value!r}")
    return value


def run(case: Case, send: Send, client: Any, prefix: str) -> str:
    """The first thing that is not as the case says, '' if all is. ``client`` is blocking, and may read any key."""
    touched: set[bytes] = set()
    try:
        for number, step in enumerate(case.steps, 1):
            touched |= {(prefix + key).encode() for key in [*step.states, *getattr(step, "keys", ())]}
            if isinstance(step, Given):
                for key, state in step.states.items():
                    give(client, prefix + key, state)
            elif wrong := _took(step, send, client, prefix):
                return f"{case.name}: step {number}: {wrong}"
        return ""
    finally:
        if touched:
            client.delete(*touched)


def _took(step: Step, send: Send, client: Any, prefix: str) -> str:
    try:
        reply = send(step.script, [(prefix + key).encode() for key in step.keys], step.args)
    except (redis.ResponseError, RiskscaleError) as raised:
        said = str(raised.__cause__ or raised)  # of the core's errors, the server's words
        if not step.error or not f"{said} ".startswith(f"{step.error} "):
            return f"{step.script}: {said}, not {step.error or step.reply!r}"
    else:
        if step.error or reply != step.reply:
            return f"{step.script}: {reply!r}, not {step.error or step.reply!r}"
    for key, expected in step.states.items():
        if (found := held(client, prefix + key)) != expected:
            return f"{step.script}: {key} holds {found}, not {expected}"
    return ""


def held(client: Any, key: str | bytes) -> State | None:
    """What a key holds."""
    kind = client.type(key).decode()
    if kind == "none":
        return None
    value = {
        "string": client.get,
        "hash": lambda key: {field.decode(): each for field, each in client.hgetall(key).items()},
        "zset": lambda key: {
            member.decode(): int(score) for member, score in client.zrange(key, 0, -1, withscores=True)
        },
        "list": lambda key: client.lrange(key, 0, -1),
    }[kind](key)
    return State(kind, value, client.pttl(key) > 0)


def give(client: Any, key: str, state: State | None) -> None:
    """Make the key hold that, for an hour unless it says ``ttl none``."""
    client.delete(key)
    if state is None:
        return
    match state.kind:
        case "string":
            client.set(key, state.value)
        case "hash":
            client.hset(key, mapping=state.value)
        case "zset":
            client.zadd(key, state.value)
        case "list":
            client.rpush(key, *state.value)
    if state.expires:
        client.pexpire(key, 3_600_000)


def failures(primitive: str, send: Send, client: Any, prefix: str, folder: Path = FOLDER) -> Sequence[str]:
    """What is wrong with a file's cases, in each the first thing."""
    cases = read(primitive, folder)
    return [wrong for at, case in enumerate(cases) if (wrong := run(case, send, client, f"{prefix}{at}:"))]
