"""An idempotent request: the one that does the work, and those that get its result."""

from __future__ import annotations

import itertools
import secrets

import redis

import riskscale.sync
from benchmarks.fleet.settings import FleetSettings
from benchmarks.report import Row
from benchmarks.server_time import Subject, beside_get_and_set
from benchmarks.wire import sent

RESULT = b"x" * 1000


def replays(url: str, settings: FleetSettings) -> list[Row]:
    """Round trips, and the server's time."""
    with (
        redis.Redis.from_url(url) as client,
        riskscale.sync.Hub(client) as hub,
        redis.Redis.from_url(url) as observer,
    ):
        guard = riskscale.sync.IdempotencyGuard(hub, "bench", keep=600)
        run, numbers = secrets.token_hex(6), itertools.count()

        def work() -> object:
            return guard.run(run, f"key-{next(numbers)}", "fingerprint", lambda claim: RESULT)

        def replay() -> object:
            return guard.run(run, "key-0", "fingerprint", lambda claim: RESULT)

        acts = {"the first, with its work": work, "a replay of 1,000 bytes": replay}
        for act in acts.values():
            act()
        trips = {name: len(sent(observer, act)) for name, act in acts.items()}
        rows = beside_get_and_set(client, [Subject(name, act) for name, act in acts.items()], settings)
    for row in rows:
        row["round_trips"] = trips.get(str(row["name"]), 1)
    return rows
