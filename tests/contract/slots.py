"""What the headers say of each word of a call: its name, and what it must not be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from riskscale._core.scripts import manifest
from tests.contract.examples import EXAMPLES, NOW

SCRIPTS: dict[str, dict[str, Any]] = manifest()["scripts"]


def slot_names(name: str, words: Sequence[str | bytes | int] | None = None) -> list[str]:
    """The name of each argument of a call (of the example, where none is given), by the header's index expressions.

    Raises:
        ValueError: so many arguments fit no number of items.
    """
    words = [*EXAMPLES[name][1], NOW] if words is None else words
    slots = SCRIPTS[name]["args"]
    m = int(words[0]) if slots[0]["name"] == "m" else 1
    n = next((n for n in range(1, 4097) if _index(slots[-1]["index"], n=n, m=m) == len(words)), 0)
    if not n:
        raise ValueError(f"{name} takes no {len(words)} arguments")
    found = [""] * len(words)
    for slot in slots:
        last = {"n": n, "m": m, "n/m": n // m}[slot["last"]] if "each" in slot else 1
        for i in range(1, last + 1):
            at = int(_index(slot["index"], n=n, m=m, i=i, j=i, r=i)) - 1
            assert not found[at]
            found[at] = slot["name"]
    assert all(found), found
    return found


def _index(expression: str, **variables: int) -> float:
    return float(eval(re.sub(r"(\d)(?=[a-z(])", r"\1*", expression), variables))


def kind_of(name: str, slot: str) -> str:
    """The type of the argument of that name."""
    return next(arg["type"] for arg in SCRIPTS[name]["args"] if arg["name"] == slot)


def bounds(kind: str) -> tuple[int, int] | None:
    """The least and the greatest of an integer; None for another type."""
    found = re.match(r"int\[(\d+)\.\.(\d+)\]", kind)
    return (int(found[1]), int(found[2])) if found else None


def outcomes(field: dict[str, str]) -> set[str]:
    """What a field of a reply may be, as its text tells it apart: '0', '-1', ... and 'other', or '' and 'text'."""
    if field["type"] == "string":
        return {"", "text"} if "''" in field["text"] else {"text"}
    text = re.sub(r"\([^)]*\)", "", field["text"])
    named = set(re.findall(r"(?:^|[;,:] |; else |; then )(-?\d+)(?: = | [a-z]|,)", text))
    rest = len(named) < 2 or not re.match(r"-?\d+ ", text) or "t > 0" in text
    return {*named, *({"other"} if rest else ())}


def outcome(field: dict[str, str], value: object) -> str:
    """Which of these a value is."""
    if field["type"] == "string":
        return "text" if value else ""
    return str(value) if str(value) in outcomes(field) else "other"


def bad_values(kind: str) -> list[str]:
    """What is not of the type, or out of its range."""
    base = kind.removesuffix("|''")
    optional = kind.endswith("|''")
    values = [] if optional else [""]
    if ends := bounds(base):
        low, high = ends
        values += ["-1", "1.5", "abc", "inf", "nan", "0x10", " 5 ", "1e3", "+1", str(2**53), "9" * 17, "5\n", "5\x00"]
        values += [str(low - 1)] if low else []
        values += [str(high + 1)]
    elif base == "token":
        values += ["a b", "a|b", "!a", "é", "x" * 129, "a\x00", "{a}"]
    elif base.startswith("string"):
        values = ["x" * (int(base[7:-1].split("..")[1]) + 1)] if base != "string" else []
    elif base.startswith("enum"):
        values += ["GCRA", "log", "gcra "]
    return values
