"""The Lua files, as they lie on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from riskscale.errors import StateError

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def folder() -> Path:
    """Where the scripts are: in the installed package, else in the checkout."""
    for place in (_PACKAGE / "_lua", _PACKAGE.parent / "lua"):
        if (place / "manifest.json").is_file():
            return place
    raise StateError(f"riskscale's Lua scripts are missing: neither {_PACKAGE / '_lua'} nor a checkout's lua/ has them")


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its name (``lock.acquire``), its bytes, and their SHA-1, which is what EVALSHA takes."""

    name: str
    text: bytes = field(repr=False)
    sha: str


@cache
def script(name: str) -> Script:
    """The script of that name; StateError where there is none."""
    path = folder() / (name.replace(".", "/", 1) + ".lua")
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise StateError(f"there is no script {name}") from None
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


@cache
def manifest() -> dict[str, Any]:
    """The generated contract of all scripts: ``{"contract": 1, "scripts": {...}}``. One for everybody: to be read."""
    contract: dict[str, Any] = json.loads((folder() / "manifest.json").read_bytes())
    return contract


def of_services() -> dict[str, Any]:
    """The contract of those scripts that a service runs; the others are for who operates it."""
    return {name: entry for name, entry in manifest()["scripts"].items() if "operator" not in entry["flags"]}


def names() -> list[str]:
    """The names of all scripts, sorted."""
    return sorted(manifest()["scripts"])
