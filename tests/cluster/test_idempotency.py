"""Idempotency on a cluster: keys of one tenant lie on all nodes, and those who wait poll."""

from __future__ import annotations

import asyncio
from typing import Any

from riskscale import Hub, IdempotencyGuard
from tests.idempotency.conftest import Work


async def test_a_tenants_keys_are_all_over_the_cluster(hub: Hub) -> None:
    guard = IdempotencyGuard(hub, "pay")
    results = await asyncio.gather(*(guard.run("t", f"k{n}", "", Work()) for n in range(20)))
    assert results == [b"receipt \xff 1"] * 20
    client: Any = hub.client
    keys = [key async for key in client.scan_iter("*:idempotency:pay:t", target_nodes=client.ALL_NODES)]
    assert len({hub.slot_of(key) for key in keys}) > 10 and min(await asyncio.gather(*map(client.pttl, keys))) > 0


async def test_who_waits_gets_the_result(hub: Hub) -> None:
    guard, work = IdempotencyGuard(hub, "pay"), Work(held=True)
    callers = [asyncio.create_task(guard.run("t", "one", "", work, wait=20)) for _ in range(5)]
    await work.began.wait()
    work.may_end.set()
    assert set(await asyncio.gather(*callers)) == {b"receipt \xff 1"} and work.done == 1
