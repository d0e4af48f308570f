"""The cases that every script has, from its header and its example: what it takes at the edge, and what it refuses."""

from __future__ import annotations

import redis

from tests.contract.book import Book, Case, Word, keys_of
from tests.contract.examples import EXAMPLES, NOW
from tests.contract.slots import SCRIPTS, bad_values, bounds, kind_of, slot_names
from tests.contract.vectors import State

FOREIGN = {
    "string": State("string", b"no state of ours, whatever it says"),
    "hash": State("hash", {"a": b"b"}),
    "zset": State("zset", {"a": 1}),
    "list": State("list", [b"a"]),
}
ANY_STRING = {("rate.reset", "gcra"), ("fence.guard", "value"), ("fence.read", "value")}
"""Keys that may hold any string."""
LONGEST = 4096
"""Bytes of an argument that is too long."""


def write(book: Book) -> None:
    """Those of the primitive's scripts."""
    for name in (each for each in SCRIPTS if each.startswith(f"{book.primitive}.")):
        roles, example = EXAMPLES[name]
        keys, words = keys_of(*roles, name="edge"), [*example, NOW]
        edges(book, name, keys, words)
        bad_words(book, name, keys, words)
        bad_counts(book, name, keys, words)
        foreign_types(book, name, keys, words)


def edges(book: Book, name: str, keys: list[str], words: list[Word]) -> None:
    """The example, and the least and the greatest that each integer may be where the others are as in the example."""
    book.case(f"{name}: an example")(name, keys, *words[:-1], now=NOW)
    case, seen = book.case(f"{name}: each integer at its edges"), set()
    for at, slot in enumerate(slot_names(name)):
        ends = bounds(kind_of(name, slot)) if slot not in seen else None
        seen.add(slot)
        for number, value in enumerate(ends or ()):
            of_its_own = [key.replace("{edge}", f"{{{slot}-{number}}}") for key in keys]
            changed = [*words[:at], value, *words[at + 1 :]]
            admitted(case, name, of_its_own, changed)


def admitted(case: Case, name: str, keys: list[str], words: list[Word]) -> None:
    """The call, unless other arguments of the example forbid that one: then the stories have it."""
    *args, now = words
    try:
        case(name, keys, *args, now=int(now))
    except redis.ResponseError as error:
        if not str(error).startswith("RSARG "):
            raise


def bad_words(book: Book, name: str, keys: list[str], words: list[Word]) -> None:
    """Each argument out of its type and range, one at a time."""
    done = set()
    for at, slot in enumerate(slot_names(name)):
        values = [] if slot in done else telling(kind_of(name, slot), slot)
        done.add(slot)
        if values:
            case = book.case(f"{name}: {slot} is malformed")
        for number, value in enumerate(values, 1):
            changed = [*words[:at], value, *words[at + 1 :]]
            case.refuses(f"RSARG {slot}", name, keys, changed, shows=number == len(values))


def telling(kind: str, slot: str) -> list[str]:
    """Of ``now_us`` all bad values that there are; of the others those at the edges, and what is no integer.

    What is too long by itself would be too long for a file: the contract's tests in Python have it.
    """
    values = [value for value in bad_values(kind) if len(value) <= LONGEST]
    ends = bounds(kind)
    if slot == "now_us" or ends is None:
        return values
    low, high = ends
    return [value for value in ("", "-1", "1e3", str(low - 1), str(high + 1)) if value in values]


def bad_counts(book: Book, name: str, keys: list[str], words: list[Word]) -> None:
    """Too few and too many arguments; too few, too many and equal keys."""
    case = book.case(f"{name}: wrong counts")
    per_word = name == "limits.read"  # where one argument more is one item more
    for wrong in ([], words[:-1], *([] if per_word else [[*words, NOW]])):
        case.refuses("RSARG", name, keys, wrong)
    case.refuses("RSARG KEYS", name, [], words)
    slots = SCRIPTS[name]["keys"]
    if "each" not in slots[0]:
        for wrong_keys in (keys[:-1], [*keys, f"{keys[0]}2"]):
            case.refuses("RSARG KEYS", name, wrong_keys, words)
    elif len(slots) > 1:
        case.refuses("RSARG KEYS", name, keys[:-1], words)
    if len(slots) > 1 and book.primitive != "rate" and not name.endswith(".inspect"):
        for at in range(1, len(slots)):
            case.refuses("RSARG KEYS", name, [*keys[:at], keys[0], *keys[at + 1 :]], words, shows=at == len(slots) - 1)


def foreign_types(book: Book, name: str, keys: list[str], words: list[Word]) -> None:
    """RSSTATE, or -2 for an item; and the key is as it was."""
    types = [slot["type"] for slot in SCRIPTS[name]["keys"]]
    case = book.case(f"{name}: a key holds another type")
    for at, key in enumerate(keys):
        own, role = types[at % len(types)], EXAMPLES[name][0][at]
        if role.endswith(":refund:t"):
            continue  # of a mark it matters only whether it is there
        for kind, state in FOREIGN.items():
            if kind == own and (kind != "string" or (name, role) in ANY_STRING):
                continue
            case.given({key: state})
            if "RSSTATE" in SCRIPTS[name]["errors"]:
                case.refuses("RSSTATE", name, keys, words, shows=True)
            else:
                case(name, keys, *words[:-1], now=NOW)
            case.given(dict.fromkeys(keys))
