"""Traffic: sends events to the replicas in turn, and keeps what became of each."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from hdrh.histogram import HdrHistogram

LONGEST_US = 60_000_000
AGAIN = frozenset(
    {"OVERLOADED", "DEPENDENCY_OPEN", "MESSAGING_ERROR", "STORAGE_ERROR", "TIMEOUT", "LOCK_LOST", "in progress", "gone"}
)
"""What is sent again under the same key."""
ATTEMPTS = 10
"""At an event, by a client that insists: its key makes that safe."""


@dataclass(slots=True)
class Tally:
    """What became of the events, and how long the answers took (microseconds, each attempt)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_tenant: dict[str, Counter[str]] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    accepted: list[tuple[str, str]] = field(default_factory=list)
    strangers: int = 0
    """Answers that named another tenant than the one that asked."""
    latency: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, LONGEST_US, 3))
    seconds: float = 0.0

    @property
    def answers(self) -> int:
        """Of all attempts."""
        return self.attempts.total()

    def percentile(self, percent: float) -> float:
        """Milliseconds."""
        return float(self.latency.get_value_at_percentile(percent)) / 1000

    def lines(self) -> list[str]:
        """For people."""
        spent = max(self.seconds, 1e-9)
        took = "  ".join(f"p{percent:g} {self.percentile(percent):.1f}" for percent in (50, 90, 99, 99.9))
        return [
            f"events     {'  '.join(f'{name} {count}' for name, count in sorted(self.outcomes.items()))}",
            f"attempts   {'  '.join(f'{name} {count}' for name, count in sorted(self.attempts.items()))}",
            f"throughput {self.answers / spent:,.0f} answers a second, for {spent:.1f} s",
            f"latency ms {took}  max {self.latency.get_max_value() / 1000:.1f}",
        ]


class Driver:
    """Sends to ``urls`` in turn; an event that could not be done now is sent again, ``attempts`` times in all."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        attempts: int = 1,
        pause: float = 0.2,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._urls, self._attempts, self._pause = itertools.cycle(urls), attempts, pause
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits, transport=transport)
        self.tally = Tally()

    async def __aenter__(self) -> Driver:
        self._began = time.monotonic()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.tally.seconds = time.monotonic() - self._began
        await self._client.aclose()

    async def send(self, tenant: str, event: dict[str, Any]) -> str:
        """The last outcome: ``assessed``, ``replayed``, the class of a failure, or ``gone``: there was no answer."""
        for attempt in range(1, self._attempts + 1):
            outcome = await self._once(tenant, event)
            self.tally.attempts[outcome] += 1
            if outcome not in AGAIN or attempt == self._attempts:
                break
            await asyncio.sleep(self._pause)
        self.tally.outcomes[outcome] += 1
        self.tally.by_tenant.setdefault(tenant, Counter())[outcome] += 1
        if outcome in ("assessed", "replayed"):
            self.tally.accepted.append((tenant, event["event_id"]))
        return outcome

    async def _once(self, tenant: str, event: dict[str, Any]) -> str:
        began = time.perf_counter()
        try:
            response = await self._client.post(f"{next(self._urls)}/events", json=event, headers=_tenant(tenant))
        except httpx.TransportError:
            return "gone"
        self.tally.latency.record_value(max(1, min(LONGEST_US, round((time.perf_counter() - began) * 1e6))))
        body = response.json()
        self.tally.strangers += body.get("tenant_id") != tenant
        if response.status_code == 201:
            return "replayed" if "Idempotent-Replayed" in response.headers else "assessed"
        return "in progress" if response.status_code == 409 else str(body["class"])

    async def missing(self, accepted: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of the accepted events that the fleet does not know, or gives as another tenant's."""
        found = asyncio.Semaphore(20)

        async def look(tenant: str, event_id: str) -> tuple[str, str] | None:
            async with found:
                response = await self._client.get(f"{next(self._urls)}/events/{event_id}", headers=_tenant(tenant))
            known = response.status_code == 200 and response.json()["tenant_id"] == tenant
            return None if known else (tenant, event_id)

        looked = await asyncio.gather(*(look(*each) for each in accepted))
        return [each for each in looked if each]


def _tenant(tenant: str) -> dict[bytes, bytes]:
    return {b"X-Tenant": tenant.encode()}
