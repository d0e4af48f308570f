"""The Lua contract's tools: `make lua` writes what is generated, `make check` says what is stale.

Each script is a header (the contract), shared blocks copied in from `lua/_lib`, and its own body. From the headers
come `lua/manifest.json` and `lua/README.md`, from the whole `lua/riskscale.functions.lua`. The grammar of a header is
EBNF in the README and `parse` here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from tests.contract.examples import EXAMPLES
from tools.functions import library
from tools.released import RELEASED, breaks, releases, since

LUA = Path(__file__).resolve().parent.parent / "lua"
CONTRACT = 1
"""Raised when callers by an older manifest would break: see `tools/released.py`."""

FENCE = re.compile(r"^-- >>> _lib/(\w+)\n(.*?)^-- <<< _lib/\1\n", re.M | re.S)
TITLE = re.compile(r"^--- (?P<name>[a-z_]+\.[a-z_]+) -- (?P<title>\S.*)$")
RANGE = r"(?: +(?P<each>[ijr])=1\.\.(?P<last>[nm](?:/m)?))?(?: +(?P<bound>[nm]=1\.\.\d+(?:, a multiple of m)?))?"
TYPE = r"(?P<type>int(?:\[\d+\.\.\d+\])?(?:\|'')?|token(?:\|'')?|string(?:\[\d+\.\.\d+\])?|enum [\w|]+|hash|zset)"
KEY = re.compile(rf"^-- KEYS\[(?P<index>[^\]]+)\] +(?P<name>\w+) +{TYPE}{RANGE} +(?P<text>\S.*)$")
ARG = re.compile(rf"^-- ARGV\[(?P<index>[^\]]+)\] +(?P<name>\w+) +{TYPE}{RANGE} +(?P<text>\S.*)$")
RETURN = re.compile(rf"^-- RETURN(?P<item> per item)? +(?P<name>\w+) +{TYPE} +(?P<text>\S.*)$")
ERROR = re.compile(r"^-- ERROR +(?P<word>RSARG|RSSTATE) +(?P<text>\S.*)$")
WORD = re.compile(r"^-- (?P<word>REPEAT|FLAGS|TTL +none) +(?P<text>\S.*)$")
REPLY = re.compile(r"^-- REPLY +line$")
COMMAND = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'")
FLAGS = {"write", "readonly", "operator", "frees"}


class ContractError(Exception):
    """A header that does not follow the grammar, or a block that does not exist."""


def scripts() -> list[Path]:
    """Every script, in the order of its name."""
    return sorted(path for path in LUA.glob("*/*.lua") if path.parent.name != "_lib")


def expand(text: str, lua: Path = LUA) -> str:
    """The script with the present text of every shared block between its fences."""

    def block(match: re.Match[str]) -> str:
        source = lua / "_lib" / f"{match[1]}.lua"
        if not source.exists():
            raise ContractError(f"no block _lib/{match[1]}")
        return f"-- >>> _lib/{match[1]}\n{source.read_text()}-- <<< _lib/{match[1]}\n"

    if text.count("-- >>> ") != len(FENCE.findall(text)) or text.count("-- <<< ") != len(FENCE.findall(text)):
        raise ContractError("a fence is not closed, or names no block")
    return FENCE.sub(block, text)


def header_lines(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        if not line.startswith("--") or line.startswith("-- >>>"):
            break
        lines.append(line)
    return lines


def slot(match: re.Match[str]) -> dict[str, str]:
    fields = ("index", "name", "type", "each", "last", "bound", "text")
    return {key: value for key, value in match.groupdict().items() if value and key in fields}


def parse(text: str) -> dict[str, Any]:
    """The contract that a header states; ContractError names the line that is not of the grammar."""
    lines = header_lines(text)
    title = TITLE.match(lines[0]) if lines else None
    if not title:
        raise ContractError("the first line is not '--- primitive.verb -- what it does'")
    entry: dict[str, Any] = {
        "title": title["title"], "about": [], "keys": [], "args": [], "returns": [], "errors": {}, "flags": [],
    }  # fmt: skip
    for line in lines[1:]:
        if match := KEY.match(line):
            entry["keys"].append(slot(match))
        elif match := ARG.match(line):
            entry["args"].append(slot(match))
        elif match := RETURN.match(line):
            per = {"per": "item"} if match["item"] else {}
            entry["returns"].append({"name": match["name"], "type": match["type"], "text": match["text"], **per})
        elif REPLY.match(line):
            entry["reply"] = "line"
        elif match := ERROR.match(line):
            entry["errors"][match["word"]] = match["text"]
        elif (match := WORD.match(line)) and match["word"] == "FLAGS":
            entry["flags"] = match["text"].split()
        elif match:
            entry[match["word"].split()[0].lower()] = match["text"]
        elif re.match(r"^-- (KEYS|ARGV|REPLY|RETURN|ERROR|REPEAT|FLAGS|TTL)\b", line) or entry["keys"]:
            raise ContractError(f"not of the grammar: {line}")
        else:
            entry["about"].append(line.removeprefix("-- "))
    check_entry(entry)
    return {"name": title["name"], **entry}


def check_entry(entry: dict[str, Any]) -> None:
    for part in ("keys", "args", "returns", "errors", "repeat"):
        if not entry.get(part):
            raise ContractError(f"the header has no {part}")
    if entry["args"][-1]["name"] != "now_us":
        raise ContractError("now_us is not the last argument")
    if not entry["flags"] or not set(entry["flags"]) <= FLAGS:
        raise ContractError(f"FLAGS are {sorted(FLAGS)}")


def commands(text: str) -> list[str]:
    """The Redis commands that a script may call."""
    return sorted(set(COMMAND.findall(text)))


def manifest() -> dict[str, Any]:
    entries = {}
    for path in scripts():
        text = expand(path.read_text())
        entry = parse(text)
        name = f"{path.parent.name}.{path.stem}"
        if entry.pop("name") != name:
            raise ContractError(f"{path}: the header names another script")
        file = {"file": f"{path.parent.name}/{path.name}", "sha1": hashlib.sha1(text.encode()).hexdigest()}
        entries[name] = {**file, **entry, "commands": commands(text), "since": since(name, version())}
    return {"contract": CONTRACT, "scripts": entries}


def version() -> str:
    """The release's, read as the build reads it: this runs before anything is installed."""
    found = re.search(r'^__version__ = "([^"]+)"', (LUA.parent / "riskscale" / "__init__.py").read_text(), re.M)
    if found is None:
        raise ContractError("riskscale/__init__.py has no __version__")
    return found[1]


def prose(text: str) -> str:
    """A header's text in Markdown, where ``<name>`` outside of a code span is taken for HTML, and not shown."""
    return "`".join(part if i % 2 else part.replace("<", "\\<") for i, part in enumerate(text.split("`")))


def row(*cells: str) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(prose(cell).replace("|", "\\|") for cell in cells) + " |"


def example(name: str, file: str) -> str:
    """A line that runs the script by hand, on the server's clock."""
    if name not in EXAMPLES:
        raise ContractError(f"{name} has no call in tests/contract/examples.py")
    roles, args = EXAMPLES[name]
    place = "rs1:{example}:rate:api:60s" if name.startswith("rate.") else "rs1:{example}"
    words = [*(f"{place}:{role}" for role in roles), ",", *map(str, args), ""]
    return f"redis-cli --eval lua/{file} {' '.join(map(shlex.quote, words))}"


def readme(contract: dict[str, Any]) -> str:
    parts = [(LUA / "_lib" / "README.head.md").read_text().rstrip()]
    for name, entry in contract["scripts"].items():
        repeat = prose(re.sub(" {2,}", ", ", entry["repeat"]))  # the header has them in columns
        rows = [f"## {name}", "", f"`{entry['file']}` · {', '.join(entry['flags'])} · repeat: {repeat}", ""]
        title = entry["title"][0].upper() + entry["title"][1:]
        rows += [prose(title), "", *map(prose, entry["about"])]
        rows += ["", "| slot | name | type | |", "|---|---|---|---|"]
        for kind in ("keys", "args"):
            for item in entry[kind]:
                each = f" {item['each']}=1..{item['last']}" if "each" in item else ""
                bound = f" ({item['bound']})" if "bound" in item else ""
                index = f"{'KEYS' if kind == 'keys' else 'ARGV'}[{item['index']}]"
                rows.append(row(f"`{index}`{each}{bound}", f"`{item['name']}`", f"`{item['type']}`", item["text"]))
        rows += ["", f"| {'a line of' if 'reply' in entry else 'reply'} | type | |", "|---|---|---|"]
        for item in entry["returns"]:
            each = " per item" if "per" in item else ""
            rows.append(row(f"`{item['name']}`{each}", f"`{item['type']}`", item["text"]))
        rows += ["", *(f"- `{word}`: {prose(text)}" for word, text in entry["errors"].items())]
        rows += [f"- no TTL: {prose(entry['ttl'])}"] if "ttl" in entry else []
        rows += ["", "```sh", example(name, entry["file"]), "```"]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def generated() -> dict[Path, str]:
    """Every file that is generated, wholly or between fences, with the text it should have."""
    files = {path: expand(path.read_text()) for path in scripts()}
    contract = manifest()
    files[LUA / "manifest.json"] = json.dumps(contract, indent=1, ensure_ascii=False) + "\n"
    files[LUA / "README.md"] = readme(contract)
    texts = {f"{path.parent.name}.{path.stem}": files[path] for path in scripts()}
    files[LUA / "riskscale.functions.lua"] = library(contract, texts, version())
    return files


def release() -> dict[Path, str]:
    """The present manifest as the released one; ContractError where it breaks what the last release promised."""
    contract = manifest()
    if problems := [problem for old in [*releases().values()][-1:] for problem in breaks(old, contract)]:
        raise ContractError("; ".join(problems))
    return {RELEASED / f"{version()}.json": json.dumps(contract, indent=1, ensure_ascii=False) + "\n"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    parser.add_argument("--release", action="store_true", help="keep the present contract as that of this release")
    options = parser.parse_args()
    check = options.check
    try:
        files = {**generated(), **(release() if options.release else {})}
    except ContractError as error:
        print(f"contract: {error}", file=sys.stderr)
        return 1
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.write_text(files[path])
        print(f"{'stale, run make lua' if check else 'written'}: {path.relative_to(LUA.parent)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
