"""What a script takes and gives, as a typed function in any language sees it: made of its entry in the manifest.

A header places arguments by expressions such as ``ARGV[2+4(j-1)]``. Here they become segments in the order in which
they are sent: single fields, and groups of fields that are sent once an item. What is counted by the client (``m``,
the number of limits) is no argument of its function.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

GROUPS = {"i": "items", "j": "limits", "r": "requests"}
"""What a list is called, by the variable that runs over it."""
COUNTED = {"m": "limits"}
"""Arguments that say how long a list is."""
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.floordiv}
_SIZES = {"n": 6, "m": 2}


@dataclass(frozen=True, slots=True)
class Field:
    """One word of a call or a reply. ``counts``: it is the length of that list."""

    name: str
    kind: str
    type: str
    about: str
    optional: bool = False
    words: tuple[str, ...] = ()
    counts: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """Fields that are sent one after another: once, or (``group``) once for each item of that list."""

    group: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """One script."""

    name: str
    sha1: str
    text: str
    title: str
    about: tuple[str, ...]
    keys: tuple[Segment, ...]
    args: tuple[Segment, ...]
    returns: tuple[Field, ...]
    per_item: tuple[Field, ...]
    line: bool

    @property
    def fields(self) -> tuple[Field, ...]:
        """What the caller gives once."""
        return tuple(field for field in self._all("") if not field.counts)

    @property
    def groups(self) -> dict[str, tuple[Field, ...]]:
        """The lists that the caller gives, and what each of their items has."""
        names = dict.fromkeys(segment.group for segment in (*self.keys, *self.args) if segment.group)
        return {name: self._all(name) for name in names}

    def _all(self, group: str) -> tuple[Field, ...]:
        segments = (segment for segment in (*self.keys, *self.args) if segment.group == group)
        return tuple(field for segment in segments for field in segment.fields)


def signature(name: str, entry: Mapping[str, Any], text: str) -> Signature:
    """That of one script of the manifest; ValueError where its slots cannot be sent in one order."""
    made = Signature(
        name=name,
        sha1=entry["sha1"],
        text=text,
        title=entry["title"],
        about=tuple(entry["about"]),
        keys=_segments(entry["keys"], is_key=True),
        args=_segments(entry["args"], is_key=False),
        returns=tuple(_field(each) for each in entry["returns"] if "per" not in each),
        per_item=tuple(_field(each) for each in entry["returns"] if "per" in each),
        line=entry.get("reply") == "line",
    )
    for fields in (made.fields, *made.groups.values()):
        names = [field.name for field in fields]
        if len(set(names)) < len(names):
            raise ValueError(f"{name}: two arguments are called the same: {names}")
    return made


def _segments(slots: list[dict[str, str]], *, is_key: bool) -> tuple[Segment, ...]:
    """In the order in which they stand where every list has one item; checked against lists of several."""
    one = dict.fromkeys("ijrnm", 1)
    ordered = sorted(slots, key=lambda slot: position(slot["index"], one))
    segments, places = [], []
    for group, of_group in groupby(ordered, key=lambda slot: slot.get("each", "")):
        members = list(of_group)
        segments.append(Segment(GROUPS[group] if group else "", tuple(_field(slot, is_key) for slot in members)))
        length = position(members[0]["last"], _SIZES) if group else 1
        for item in range(1, length + 1):
            places += [position(slot["index"], {**_SIZES, group: item}) for slot in members]
    if places != list(range(1, len(places) + 1)):
        raise ValueError(f"these slots have no order of their own: {[slot['index'] for slot in slots]}")
    return tuple(segments)


def _field(slot: Mapping[str, str], is_key: bool = False) -> Field:
    kind, _, rest = slot["type"].partition(" ")
    name = slot["name"] if not is_key or slot["name"] == "key" else f"{slot['name']}_key"
    return Field(
        name=name,
        kind="int" if kind.startswith("int") and not is_key else "enum" if rest else "text",
        type=slot["type"],
        about=slot["text"],
        optional=kind.endswith("|''"),
        words=tuple(rest.split("|")) if rest else (),
        counts=COUNTED.get(name, ""),
    )


def position(index: str, values: Mapping[str, int]) -> int:
    """The value of an index expression: numbers, variables, + - / and multiplication by juxtaposition."""
    return _value(ast.parse(re.sub(r"(\d)(?=[a-z(])", r"\1*", index), mode="eval").body, values)


def _value(node: ast.expr, values: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return int(_OPERATORS[type(op)](_value(left, values), _value(right, values)))
    raise ValueError(f"not of the grammar: {ast.unparse(node)}")


def signatures(contract: Mapping[str, Any], texts: Mapping[str, str], only: Iterable[str] = ()) -> list[Signature]:
    """Of all scripts, or those named."""
    names = sorted(set(only)) or sorted(contract["scripts"])
    return [signature(name, contract["scripts"][name], texts[name]) for name in names]
