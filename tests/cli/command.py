"""Ways to run the command in tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.backends import ServerBackend

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "tests" / "data" / "sample.log"


def start(*words: object, **options: Any) -> subprocess.Popen[bytes]:
    """``riskscale WORDS...`` as a process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("environment", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-m", "riskscale.cli", *map(str, words)], env=environment, **options)


def url_of(backend: ServerBackend) -> str:
    """A URL with the user and password of the test's own clients."""
    if not backend.login:
        return backend.url
    scheme, _, rest = backend.url.partition("://")
    user, password = (quote(str(backend.login[part]), safe="") for part in ("username", "password"))
    return f"{scheme}://{user}:{password}@{rest}"


def json_line(text: str) -> Any:
    """The one line of JSON that ``text`` is."""
    assert text.count("\n") == 1
    return json.loads(text)
