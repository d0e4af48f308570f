"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
KeyPrefix = Annotated[str, typer.Option(metavar="P", help="Put before the keys, where an ACL wants it.")]
Url = Annotated[str, typer.Option("--redis", metavar="URL", help="The server, such as redis://localhost:6379/0.")]
UrlOrEmbedded = Annotated[
    str | None, typer.Option("--redis", metavar="URL", help="Run on this server.  [default: embedded, in process]")
]
