"""What is remembered of a device: the shared state that the scores come from."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any, Protocol

from risk_engine.events import Event
from risk_engine.keys import Keys
from risk_engine.scoring import Seen

REMEMBERED = 200
KEPT_SECONDS = 30 * 86_400


class Profiles(Protocol):
    """Remembers events, each once however often it comes, and tells what it remembers of the device."""

    async def remember(self, tenant: str, event: Event) -> list[Seen]: ...


class InMemoryProfiles:
    """For tests."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[str, Seen]] = defaultdict(dict)

    async def remember(self, tenant: str, event: Event) -> list[Seen]:
        seen = self._seen[tenant, event.device]
        seen.setdefault(event.event_id, seen_of(event))
        return list(seen.values())


class RedisProfiles:
    """A sorted set a device: the last 200 events by their time. The same event is the same member."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._client, self._keys = client, keys

    async def remember(self, tenant: str, event: Event) -> list[Seen]:
        device = self._keys.of(tenant, "device", event.device)
        member = json.dumps([event.event_id, str(event.amount), event.country, event.merchant], ensure_ascii=False)
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.zadd(device, {member: event.at_us})
            pipe.zremrangebyrank(device, 0, -REMEMBERED - 1)
            pipe.expire(device, KEPT_SECONDS)
            pipe.zrange(device, 0, -1, withscores=True)
            *_, members = await pipe.execute()
        return [Seen(int(at), name, Decimal(amount), country, merchant)
                for raw, at in members for name, amount, country, merchant in [json.loads(raw)]]  # fmt: skip


def seen_of(event: Event) -> Seen:
    """What is remembered of it."""
    return Seen(event.at_us, event.event_id, event.amount, event.country, event.merchant)
