from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from riskscale import Hub, IdempotencyGuard
from riskscale.testing import VirtualClock

PATIENCE = 20.0


class Work:
    """Something to be done once: counts, and says what each claim knew; goes on when it is told to."""

    def __init__(self, held: bool = False) -> None:
        self.done = 0
        self.unknown: list[int] = []
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        if not held:
            self.may_end.set()

    async def __call__(self, claim: Any) -> bytes:
        self.unknown.append(claim.unknown)
        self.began.set()
        await asyncio.wait_for(self.may_end.wait(), PATIENCE)
        self.done += 1
        return b"receipt \xff %d" % self.done


@pytest.fixture
def guard(hub: Hub) -> IdempotencyGuard:
    return IdempotencyGuard(hub, "pay")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def timed(client: Any, prefix: str, clock: VirtualClock) -> AsyncIterator[Callable[..., IdempotencyGuard]]:
    """Guards in virtual time, each of a hub of its own: replicas."""
    hubs = []

    def make(**options: Any) -> IdempotencyGuard:
        hubs.append(Hub(client, key_prefix=prefix, clock=clock))
        return IdempotencyGuard(hubs[-1], "pay", **options)

    yield make
    for hub in hubs:
        await hub.aclose()
