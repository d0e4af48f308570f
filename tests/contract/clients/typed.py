"""The examples as a typed client takes them, and their replies as it gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from riskscale._core.call import line, text
from riskscale._core.scripts import manifest, names, script
from riskscale.cli.generate import camel
from riskscale.cli.signatures import Field, Segment, signatures
from tests.contract.examples import EXAMPLES

TEXTS = {name: script(name).text.decode() for name in names()}
SIGNATURES = {each.name: each for each in signatures(manifest(), TEXTS)}
SIZES = {"rate.all_of": {"items": 2, "limits": 2}, "rate.refund": {"limits": 2}}
"""How long the lists of an example are, where it is not one item each."""


def keys_of(name: str, prefix: str) -> list[str]:
    return [f"{prefix}rs1:{{contract}}:{role}" for role in EXAMPLES[name][0]]


def sent(segments: Sequence[Segment], sizes: dict[str, int]) -> list[tuple[str, int, Field]]:
    """Of each word: the list it belongs to ('' = none), the number of its item, what it is."""
    return [
        (segment.group, item, field)
        for segment in segments
        for item in range(sizes.get(segment.group, 1))
        for field in segment.fields
    ]


def call_of(name: str, prefix: str, now_us: int) -> dict[str, Any]:
    """The example of a script as an object with named fields."""
    each, sizes = SIGNATURES[name], SIZES.get(name, {})
    call: dict[str, Any] = {group: [{} for _ in range(sizes.get(group, 1))] for group in each.groups}
    words = [*keys_of(name, prefix), *EXAMPLES[name][1], now_us]
    for word, (group, item, field) in zip(words, sent((*each.keys, *each.args), sizes), strict=True):
        if not field.counts and not (field.optional and word == ""):
            place = call[group][item] if group else call
            place[camel(field.name)] = int(word) if field.kind == "int" else str(word)
    return call


def reply_of(name: str, reply: Any) -> dict[str, Any]:
    """A reply as an object with named fields."""
    each = SIGNATURES[name]
    values = line(reply) if each.line else [value if isinstance(value, int) else text(value) for value in reply]
    said: dict[str, Any] = {camel(field.name): values.pop(0) for field in each.returns}
    if each.per_item:
        names = [camel(field.name) for field in each.per_item]
        starts = range(0, len(values), len(names))
        said["items"] = [dict(zip(names, values[at : at + len(names)], strict=True)) for at in starts]
    return said


def plain(said: Any) -> Any:
    """The same with names as no language spells them, and no list that is nothing."""
    if isinstance(said, dict):
        return {name.lower(): plain(value) for name, value in said.items()} | (
            {"items": []} if said.get("Items", 0) is None else {}
        )
    return [plain(each) for each in said] if isinstance(said, list) else said
