"""Whether the present contract keeps what a released one promised to its callers.

Releases run side by side on one server, and clients in other languages are made of an older manifest. So within one
version of the contract a script is called as before and says the same fields; it may take more (a wider range, one
more word), never less. What breaks that needs a new number in `CONTRACT` and keys of a new layout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

RELEASED = Path(__file__).resolve().parent.parent / "tests" / "contract" / "released"

_INT = re.compile(r"int(?:\[(\d+)\.\.(\d+)\])?(\|'')?\Z")
_STRING = re.compile(r"string(?:\[(\d+)\.\.(\d+)\])?\Z")
_BOUND = re.compile(r"[nm]=(\d+)\.\.(\d+)(.*)\Z")
_SPELLING = re.compile(r"(?:<prefix>|<key>|\.\.\.)\S*")


def releases() -> dict[str, dict[str, Any]]:
    """Release -> its manifest, the oldest first."""
    paths = sorted(RELEASED.glob("*.json"), key=lambda path: [int(number) for number in path.stem.split(".")])
    return {path.stem: json.loads(path.read_bytes()) for path in paths}


def since(script: str, present: str) -> str:
    """The release that had it first."""
    return next((name for name, contract in releases().items() if script in contract["scripts"]), present)


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a caller by the old manifest would find broken; nothing where the new one is of a later contract."""
    if new["contract"] > old["contract"]:
        return []
    found = [] if new["contract"] == old["contract"] else ["the contract's number went back"]
    for name, before in old["scripts"].items():
        after = new["scripts"].get(name)
        problems = ["is gone"] if after is None else _script(before, after)
        found += [f"{name}: {problem}" for problem in problems]
    return found


def _script(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from _slots("KEYS", old["keys"], new["keys"])
    yield from _slots("ARGV", old["args"], new["args"])
    fields = [[(each["name"], each["type"], each.get("per")) for each in entry["returns"]] for entry in (old, new)]
    if fields[0] != fields[1]:
        yield "replies other fields; their number is fixed, so one more breaks too"
    if old.get("reply") != new.get("reply"):
        yield "replies in another form"
    if set(old["errors"]) != set(new["errors"]):
        yield "has other errors"
    if old["repeat"].startswith("safe") and not new["repeat"].startswith("safe"):
        yield "is not safe to repeat any more"
    if ("ttl" in old) != ("ttl" in new):
        yield "has keys without TTL, or has none any more"
    if "readonly" in old["flags"] and "readonly" not in new["flags"]:
        yield "writes"
    if "frees" in old["flags"] and "frees" not in new["flags"]:
        yield "does not pass any more when memory is full"
    if "operator" in new["flags"] and "operator" not in old["flags"]:
        yield "is for operators alone"


def _slots(table: str, old: Sequence[Mapping[str, str]], new: Sequence[Mapping[str, str]]) -> Iterator[str]:
    places = [[(each["index"], each["name"]) for each in slots] for slots in (old, new)]
    if places[0] != places[1]:
        yield f"{table} has other slots: {places[0]} were {places[1]}"
        return
    for before, after in zip(old, new, strict=True):
        name = f"{table}[{before['index']}] {before['name']}"
        if not takes(before["type"], after["type"]):
            yield f"{name} takes less: {before['type']} is {after['type']}"
        if any(before.get(part) != after.get(part) for part in ("each", "last")):
            yield f"{name} runs over another range"
        if not _within(_BOUND, before.get("bound", ""), after.get("bound", "")):
            yield f"{name} takes fewer: {before.get('bound')} is {after.get('bound')}"
        if table == "KEYS" and spelling(before) != spelling(after):
            yield f"{name} is another key: {spelling(before)} is {spelling(after)}"


def takes(old: str, new: str) -> bool:
    """Whether a slot of the new type takes all that one of the old type took."""
    if old == new or new == f"{old}|''":
        return True
    if old.startswith("enum ") and new.startswith("enum "):
        return set(old[5:].split("|")) <= set(new[5:].split("|"))
    if old.startswith("int"):
        return _within(_INT, old, new) and (not old.endswith("|''") or new.endswith("|''"))
    return _within(_STRING, old, new)


def _within(pattern: re.Pattern[str], old: str, new: str) -> bool:
    """Whether the new range, of no end where it names none, has all of the old one."""
    before, after = pattern.match(old), pattern.match(new)
    if before is None or after is None:
        return old == new
    if pattern is _BOUND and before[3] != after[3]:
        return False
    low, high = after[1], after[2]
    if low is None:
        return True
    return before[1] is not None and int(low) <= int(before[1]) and int(before[2]) <= int(high)


def spelling(key: Mapping[str, str]) -> str:
    """How the header spells a key; "" where it says so in words."""
    found = _SPELLING.match(key["text"])
    return found[0].rstrip(",") if found else ""
