"""Vectors that are wrong in one way each, and what must be said of them: in Python, and by every runner."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from riskscale._core.scripts import folder

GOOD: dict[str, Any] = {
    "format": 1,
    "primitive": "fence",
    "cases": [
        {
            "name": "a case",
            "steps": [
                {"given": {"k:value": {"string": "old"}, "k:fence": None}},
                {
                    "script": "fence.guard",
                    "keys": ["k:value", "k:fence"],
                    "args": ["7", {"hex": "00ff"}, "60000000", "9"],
                    "reply": [1, 7, 9],
                    "state": {"k:value": {"string": {"hex": "00ff"}}, "k:fence": {"string": "7", "ttl": "none"}},
                },
                {"script": "fence.guard", "keys": ["k:value", "k:fence"], "args": ["7"], "error": "RSARG ARGV"},
            ],
        }
    ],
}

Change = Callable[[dict[str, Any]], None]


def changed(*path: Any) -> Callable[[Any], Change]:
    """Puts a value there."""

    def to(value: Any) -> Change:
        def change(file: dict[str, Any]) -> None:
            place: Any = file
            for part in path[:-1]:
                place = place[part]
            place[path[-1]] = value

        return change

    return to


STEP = ("cases", 0, "steps", 1)
ERROR = ("cases", 0, "steps", 2)

FILE: dict[str, tuple[Change, str]] = {
    "an unknown field of the file": (changed("comment")("x"), "comment"),
    "another format": (changed("format")(2), "format"),
    "another primitive": (changed("primitive")("lock"), "lock"),
}
"""What is wrong with a file as a whole."""

FORMAT: dict[str, tuple[Change, str]] = {
    "an unknown field of a case": (changed("cases", 0, "note")("x"), "note"),
    "an unknown field of a step": (changed(*STEP, "now")("x"), "now"),
    "an unknown kind of state": (changed(*STEP, "state", "k:value")({"set": ["x"]}), "set"),
    "an unknown field of a state": (changed(*STEP, "state", "k:value")({"string": "x", "life": 1}), "life"),
    "an unknown script": (changed(*STEP, "script")("fence.gard"), "fence.gard"),
    "too few keys": (changed(*STEP, "keys")(["k:value"]), "fence.guard does not take 1 keys"),
    "both a reply and an error": (changed(*STEP, "error")("RSARG"), "either reply or error"),
}
"""What is wrong with a case."""

ANSWER: dict[str, tuple[Change, str]] = {
    "another number": (changed(*STEP, "reply")([1, 8, 9]), "fence.guard"),
    "a text for a number": (changed(*STEP, "reply")([1, "7", 9]), "fence.guard"),
    "a field less": (changed(*STEP, "reply")([1, 7]), "fence.guard"),
    "a reply for an error": (changed(*ERROR)({**GOOD["cases"][0]["steps"][1], "args": ["7"]}), "RSARG"),
    "another error": (changed(*ERROR, "error")("RSSTATE"), "RSARG"),
    "half of an error's word": (changed(*ERROR, "error")("RSAR"), "RSARG"),
    "another value": (changed(*STEP, "state", "k:value")({"string": {"hex": "00fe"}}), "k:value"),
    "another type": (changed(*STEP, "state", "k:value")({"list": ["x"]}), "k:value"),
    "a key that is there": (changed(*STEP, "state", "k:value")(None), "k:value"),
    "a key that is not": (changed(*STEP, "state")({"k:other": {"string": "x"}}), "k:other"),
    "a key that does not expire": (changed(*STEP, "state", "k:fence")({"string": "7"}), "k:fence"),
    "a key that expires": (changed(*STEP, "state", "k:value")({"string": {"hex": "00ff"}, "ttl": "none"}), "k:value"),
}
"""What no server answers."""


def file(*changes: Change) -> dict[str, Any]:
    """The good file, changed so."""
    made = copy.deepcopy(GOOD)
    for change in changes:
        change(made)
    return made


def all_cases() -> dict[str, Any]:
    """One file with the good case, and one of each wrong one under its own name."""
    made = file()
    for what, (change, _) in {**FORMAT, **ANSWER}.items():
        made["cases"].append({**file(change)["cases"][0], "name": what})
    return made


def folders(place: Path, vectors: dict[str, Any]) -> tuple[Path, Path]:
    """A folder of Lua with the guard's scripts alone, and one with those vectors."""
    lua, beside = place / "lua", place / "vectors"
    shutil.copytree(folder() / "fence", lua / "fence")
    manifest = json.loads((folder() / "manifest.json").read_bytes())
    scripts = {name: entry for name, entry in manifest["scripts"].items() if name.startswith("fence.")}
    (lua / "manifest.json").write_text(json.dumps({**manifest, "scripts": scripts}))
    beside.mkdir()
    (beside / "fence.json").write_text(json.dumps(vectors))
    return lua, beside
