"""The ``riskscale`` command: one module a command; :mod:`riskscale.cli.app` puts them together."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """The entry point."""
    if any(find_spec(name) is None for name in ("typer", "rich")):
        print("riskscale: the command needs typer and rich: pip install 'riskscale[cli]'", file=sys.stderr)
        sys.exit(2)
    try:
        from riskscale.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the modules were being loaded
        code = 130
    sys.exit(code)
