"""`make vectors` writes the vectors anew, `make check` says which are stale.

    python -m tests.contract.generate [--check]

Every script of the manifest gives the cases of ``bounds.py``, by its header and its example; what else a primitive does
is told in ``stories/<primitive>.py``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from pathlib import Path

from riskscale._core import keys as names
from tests.contract import bounds
from tests.contract.book import HOSTILE, Book, Disagreement
from tests.contract.vectors import FOLDER, FORMAT, primitives

NAMES = (
    "job", "a b", "a:b", "{a}", "100%", "%25", "\x00\t\n\x1f\x7f", "ünïcödé 漢字 🙂", "e\u0301", "\u00e9", HOSTILE,
    "'\"\\", "a/b?c*[d]",
)  # fmt: skip
"""What the table of key names spells."""


def written(primitive: str) -> str:
    """The vectors of a primitive."""
    book = Book(primitive)
    module = f"tests.contract.stories.{primitive}"
    if importlib.util.find_spec(module):
        importlib.import_module(module).write(book)
    bounds.write(book)
    return book.text()


def key_names() -> str:
    """The table of names, and how they stand in keys."""
    rows = []
    for name in NAMES:
        for tag in (None, "t", HOSTILE):
            key = f"{names.base_key('rs1', name, tag)}:lock"
            rows.append(json.dumps({"name": name, "tag": tag, "role": "lock", "key": key}, ensure_ascii=False))
    return f'{{"format": {FORMAT}, "keys": [\n  ' + ",\n  ".join(rows) + "\n]}\n"


def generated() -> dict[Path, str]:
    """Every file, with the text it should have."""
    files = {FOLDER / f"{primitive}.json": written(primitive) for primitive in primitives()}
    return {**files, FOLDER / "keys.json": key_names()}


def main() -> int:
    parser = argparse.ArgumentParser(description="The vectors of the Lua contract.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is stale")
    check = parser.parse_args().check
    try:
        files = generated()
    except Disagreement as error:
        print(f"vectors: {error}", file=sys.stderr)
        return 1
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.write_text(files[path])
        print(f"{'stale, run make vectors' if check else 'written'}: {path.name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
