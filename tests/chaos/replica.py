"""``python -m tests.chaos.replica``: a replica of the service in trouble of its own, by ``CHAOS_...``.

``CHAOS_MODEL_SECONDS``: how long the model takes. ``CHAOS_CLOCK_SECONDS``: how far its clock is off.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from risk_engine.events import Event
from risk_engine.fleet import Replica
from risk_engine.model import RuleModel
from risk_engine.scoring import Features, Score

HERE = Path(__file__).resolve().parents[2]


class SlowModel(RuleModel):
    """Takes its time."""

    async def assess(self, event: Event, features: Features) -> Score:
        await asyncio.sleep(float(os.environ.get("CHAOS_MODEL_SECONDS", "0")))
        return await super().assess(event, features)


@contextmanager
def replicas(url: str, many: int, **env: str) -> Iterator[list[Replica]]:
    """So many of them, ready; their results stay in the streams."""
    shared = {
        "RISK_REDIS_URL": url, "RISK_CONSUME": "false", "RISK_PARTITIONS": "2", "RISK_LOCK_SECONDS": "1",
        "RISK_WAIT_SECONDS": "0.5", "RISK_RATE_LIMIT": "100000/second", "RISK_REPLICAS": str(many), **env,
    }  # fmt: skip
    with ExitStack() as stack:
        started = []
        for number in range(1, many + 1):
            own = {key.removesuffix(f"_{number}"): value for key, value in shared.items()}
            replica = Replica(f"replica-{number}", own, module="tests.chaos.replica", path=HERE)
            stack.callback(replica.stop)
            started.append(replica.start())
        for replica in started:
            replica.wait_until_ready()
        yield started


def main() -> int:
    """As ``python -m risk_engine``."""
    import time_machine
    import uvicorn
    from risk_engine.app import create_app
    from risk_engine.settings import Settings
    from risk_engine.wiring import running

    off = float(os.environ.get("CHAOS_CLOCK_SECONDS", "0"))
    wrong = time_machine.travel(datetime.now(UTC) + timedelta(seconds=off)) if off else nullcontext()
    settings = Settings()
    with wrong:
        app = create_app(partial(running, settings, model=SlowModel()), settings.max_body)
        uvicorn.run(app, port=settings.port, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
