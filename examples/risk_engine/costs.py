"""What the calls of the model have cost, by tenant."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from risk_engine.keys import Keys


class CostTracker(Protocol):
    """Adds up; a call that failed has cost something, too."""

    async def charge(self, tenant: str, cost: int) -> None: ...
    async def spent(self, tenant: str) -> int: ...


class InMemoryCosts:
    """For tests."""

    def __init__(self) -> None:
        self.by_tenant = Counter[str]()

    async def charge(self, tenant: str, cost: int) -> None:
        self.by_tenant[tenant] += cost

    async def spent(self, tenant: str) -> int:
        return self.by_tenant[tenant]


class RedisCosts:
    """One counter a tenant, for all replicas."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._client, self._keys = client, keys

    async def charge(self, tenant: str, cost: int) -> None:
        await self._client.incrby(self._keys.of(tenant, "cost"), cost)

    async def spent(self, tenant: str) -> int:
        return int(await self._client.get(self._keys.of(tenant, "cost")) or 0)
