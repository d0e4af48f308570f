"""``python -m risk_engine``: one replica."""

from __future__ import annotations

import gc
import sys
from functools import partial
from importlib.util import find_spec

import uvicorn
from pydantic import ValidationError

from risk_engine.app import create_app
from risk_engine.settings import Settings
from risk_engine.wiring import running


def main() -> int:
    """Serve until SIGTERM or SIGINT; then drain."""
    try:
        settings = Settings()
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            name = "_".join(("RISK", *map(str, each["loc"]))).upper()
            print(f"risk_engine: {name}: {each['msg']}", file=sys.stderr)
        return 2
    if settings.redis_url is None and find_spec("fakeredis") is None:
        print("risk_engine: RISK_REDIS_URL: is needed: fakeredis, to run without it, is not installed", file=sys.stderr)
        return 2
    app = create_app(partial(running, settings), settings.max_body)
    gc.collect()
    gc.freeze()  # all that was imported stays: the collector need not look at it again and again
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        timeout_keep_alive=75,  # a proxy in front is to be the one who closes an idle connection
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
