"""Several limiters as one on a real cluster: one call where they have a common tag, else slot by slot on both nodes."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
import redis.cluster

import riskscale.sync
from riskscale import Hub, Limit, MultiDecision, MultiRateLimiter, RateLimiter

pytestmark = pytest.mark.owns_server
RUN = itertools.count()
COUNTS = {"tenant": 3, "plan": 8, "all": 10}


def limiters(hub: Any, package: Any = riskscale, tag: str | None = None) -> list[Any]:
    counts = COUNTS.items()
    return [package.RateLimiter(hub, Limit(count, per=3600), name=name, tag=tag) for name, count in counts]


def of(run: int, tenant: int) -> dict[str, str]:
    return {"tenant": f"t{run}-{tenant}", "plan": f"gold{run}", "all": f"all{run}"}


def granted(decisions: list[MultiDecision], name: str) -> dict[str, int]:
    """Units admitted, by the keys of one limiter."""
    index, found = list(COUNTS).index(name), dict[str, int]()
    for decision in decisions:
        if decision:
            found[decision.keys[index]] = found.get(decision.keys[index], 0) + decision.cost
    return found


@pytest.mark.parametrize("tag", [None, "t"])
async def test_never_over_any_limit_and_nothing_is_left_charged(hub: Hub, tag: str | None) -> None:
    """Forty requests of eight tenants at the same time, some of them cancelled."""
    run, three = next(RUN), limiters(hub, tag=tag)
    every = MultiRateLimiter(three)
    where = {
        hub.client.get_node_from_key(key).port for n in range(8) for key in every._plan.keys((*of(run, n).values(),))
    }
    assert len(where) == (2 if tag is None else 1)
    tasks = [asyncio.create_task(every.hit(of(run, number % 8), 1 + number % 2)) for number in range(40)]
    for task in tasks[::7]:
        asyncio.get_running_loop().call_later(0.002, task.cancel)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    decisions = [result for result in results if isinstance(result, MultiDecision)]
    assert all(isinstance(result, MultiDecision | asyncio.CancelledError) for result in results)
    while hub._tasks:  # what is given back in the background
        await asyncio.wait(set(hub._tasks))
    for limiter in three:
        sums = granted(decisions, limiter.name)
        assert all(units <= COUNTS[limiter.name] for units in sums.values()), limiter.name
        for key in {of(run, number)[limiter.name] for number in range(8)}:
            there = COUNTS[limiter.name] - (await limiter.peek(key)).remaining
            lost = sum(isinstance(result, asyncio.CancelledError) for result in results) if tag else 0
            assert sums.get(key, 0) <= there <= sums.get(key, 0) + 2 * lost


async def test_who_refused_and_a_refund(hub: Hub) -> None:
    run, (tenant, plan, everybody) = next(RUN), limiters(hub)
    every = MultiRateLimiter([tenant, plan, everybody], deny_cache=True)
    first = await every.hit(of(run, 1), 3)
    assert first and len(first.parts) == 3 and (await every.hit(of(run, 1))).limiter == "tenant"
    assert [bool(each) for each in await every.hit_many([(of(run, n), 3) for n in (2, 3)])] == [True, False]
    assert (await every.hit(of(run, 3), 3)).limiter == "plan" and (
        await tenant.peek(of(run, 3)["tenant"])
    ).remaining == 3
    assert [await every.refund(of(run, 1), first, 3) for _ in range(2)] == [3, 0]
    assert (await plan.peek(of(run, 1)["plan"])).remaining == 5
    assert await every.hit(of(run, 3), 3), "the refund ends what was refused here"


async def test_keys_that_happen_to_share_a_slot_are_one_call(hub: Hub) -> None:
    one, two = (RateLimiter(hub, Limit(1, per=3600), name=name) for name in ("one", "two"))
    every, key = MultiRateLimiter([one, two]), f"same{next(RUN)}"
    assert (await every.hit({"one": key, "two": key})).parts == () and not await one.hit(key)
    refused = await every.hit({"one": "other" + key, "two": key})
    assert (refused.limiter, refused.key) == ("two", key) and await one.hit("other" + key)


def test_in_threads(cluster: int) -> None:
    run = next(RUN)
    with redis.cluster.RedisCluster(host="127.0.0.1", port=cluster) as client, riskscale.sync.Hub(client) as hub:
        every = riskscale.sync.MultiRateLimiter(limiters(hub, riskscale.sync))
        decision = every.hit(of(run, 1), 3)
        assert decision and every.hit(of(run, 1)).limiter == "tenant"
        assert every.hit(of(run, 2), 3) and every.hit(of(run, 3), 3).limiter == "plan"
        assert every.refund(of(run, 1), decision, 3) == 3 and every.hit(of(run, 3), 3)
