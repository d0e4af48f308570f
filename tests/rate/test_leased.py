"""The limiter that borrows, as its users meet it."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import (
    ArgumentError,
    Decision,
    Hub,
    HubClosed,
    InMemoryMetrics,
    LeasedRateLimiter,
    Limit,
    RateLimiter,
    StateError,
)
from riskscale.rate.limit import ALGORITHMS
from riskscale.testing import Outage, ServerProcess, VirtualClock
from riskscale.testing.clock import START_US

MINUTE = Limit(1000, per=60)


class Counted:
    """How often the client was asked, and of which script."""

    def __init__(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.real = 0, client.evalsha
        monkeypatch.setattr(client, "evalsha", self)

    def __call__(self, *words: Any) -> Any:
        self.calls += 1
        return self.real(*words)


async def until(is_so: Callable[[], bool]) -> None:
    """Not for ever: a test that hangs is ended by its run."""
    while not is_so():
        await asyncio.sleep(0.005)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def timed(client: Any, prefix: str, clock: VirtualClock) -> Hub:
    """A hub in virtual time, its monotonic clock too."""
    hub = Hub(client, key_prefix=prefix, clock=clock)
    hub.monotonic = lambda: (clock() - START_US) / 1e6
    return hub


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_hit_until_refused_then_wait(timed: Hub, clock: VirtualClock, algorithm: Any) -> None:
    limiter = LeasedRateLimiter(timed, Limit(20, per=60, algorithm=algorithm), lease_life=1)
    most = 19 if algorithm == "gcra" else 20  # what flows into a bucket during a lease is lent to nobody
    decisions = [await limiter.hit("a") for _ in range(most + 1)]
    assert [bool(each) for each in decisions] == [True] * most + [False], "a lone replica gets it all"
    assert [each.remaining for each in decisions[most - 5 :]] == [4, 3, 2, 1, 0, 0]
    refused = decisions[-1]
    assert 0 < refused.retry_after <= 62 and refused.limit.count == 20 and not refused.token
    assert await limiter.hit("b"), "another tenant's quota is its own"
    clock.advance(refused.retry_after - 2e-6)
    assert not await limiter.hit("a")
    clock.advance(3e-6)
    assert await limiter.hit("a")


async def test_most_hits_ask_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Counted(hub.client, monkeypatch)
    limiter = LeasedRateLimiter(hub, Limit(100_000, per=60), max_lease=5000)
    for _ in range(5000):
        assert await limiter.hit("a")
    assert line.calls < 50
    await limiter.aclose()
    assert (await RateLimiter(hub, limiter.limits).peek("a")).remaining == 95_000, "what was left is there again"


async def test_many_at_once_are_one_request(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await hub.preload()
    line = Counted(hub.client, monkeypatch)
    limiter = LeasedRateLimiter(hub, MINUTE)
    assert all(await asyncio.gather(*(limiter.hit("a") for _ in range(64)))) and line.calls == 1
    assert all(await asyncio.gather(*(limiter.hit(f"t{n}") for n in range(100)))) and line.calls == 3
    decisions = await limiter.hit_many(["a", ("b", 3), "a", ("c", 2000), "t5"])
    assert [each.allowed for each in decisions] == [True, True, True, False, True]
    assert [each.key for each in decisions] == ["a", "b", "a", "c", "t5"]


async def test_more_than_a_lease_at_once_and_more_than_there_is(hub: Hub) -> None:
    limiter = LeasedRateLimiter(hub, MINUTE, max_lease=1)
    assert await limiter.hit("a", 700)
    refused = await limiter.hit("a", 700)
    assert not refused and 0 < refused.retry_after < math.inf and refused.remaining == 300
    assert await limiter.hit("a", 300), "less may pass"
    never = await limiter.hit("a", 1001)
    assert (never.allowed, never.retry_after, never.cost) == (False, math.inf, 1001)


async def test_what_is_left_may_be_less_than_all_want(hub: Hub) -> None:
    limiter = LeasedRateLimiter(hub, Limit(10, per=60), max_lease=10)
    found = await asyncio.gather(*(limiter.hit("a") for _ in range(64)))
    assert sum(map(bool, found)) == 10 and [bool(each) for each in found[:10]] == [True] * 10, "in order of arrival"


async def test_refusals_are_believed_for_a_lease(timed: Hub, clock: VirtualClock, monkeypatch: Any) -> None:
    limiter = LeasedRateLimiter(timed, Limit(3, per=60, algorithm="fixed_window"), lease_life=2)
    ordinary = RateLimiter(timed, limiter.limits)
    first = await ordinary.hit("a", 3)
    assert not await limiter.hit("a")
    line = Counted(timed.client, monkeypatch)
    for _ in range(9):
        assert not await limiter.hit("a")
    assert line.calls == 0
    await ordinary.refund("a", first, 3)
    assert not await limiter.hit("a"), "nobody told it"
    clock.advance(2)
    assert await limiter.hit("a", 2)


async def test_a_refund_ends_a_refusal_and_counts_once(timed: Hub) -> None:
    limiter = LeasedRateLimiter(timed, Limit(3, per=60), max_lease=1)
    decisions = [await limiter.hit("a") for _ in range(4)]
    assert [bool(each) for each in decisions] == [True, True, True, False]
    assert [await limiter.refund("a", decisions[0]) for _ in range(2)] == [1, 0]
    assert await limiter.hit("a") and not await limiter.hit("a")
    with pytest.raises(ArgumentError, match="another limiter"):
        await LeasedRateLimiter(timed, limiter.limits[0]).refund("a", decisions[1])
    with pytest.raises(ArgumentError, match="decision"):
        await limiter.refund("a", decisions[3])


async def test_a_peek_spends_nothing(timed: Hub) -> None:
    limiter = LeasedRateLimiter(timed, Limit(10, per=60), max_lease=4)
    assert (await limiter.peek("a")).remaining == 10
    await asyncio.gather(*(limiter.hit("a") for _ in range(3)))
    looks = [await limiter.peek("a") for _ in range(3)]
    assert [each.remaining for each in looks] == [7] * 3 and all(looks) and not looks[0].token


async def test_a_reset_drops_what_is_borrowed(timed: Hub) -> None:
    limiter = LeasedRateLimiter(timed, Limit(10, per=60), max_lease=4)
    await asyncio.gather(*(limiter.hit("a") for _ in range(3)))
    await limiter.reset("a")
    assert not limiter._allowances and (await limiter.peek("a")).remaining == 10
    await limiter.aclose()
    assert (await RateLimiter(timed, limiter.limits).peek("a")).remaining == 10


async def test_waiting(hub: Hub) -> None:
    limiter = LeasedRateLimiter(hub, Limit(2, per=0.05), lease_life=0.005)
    assert all([await limiter.wait("a", timeout=30) for _ in range(6)])


async def test_a_key_that_nobody_asks_for_costs_nothing(hub: Hub) -> None:
    limiter = LeasedRateLimiter(hub, Limit(100, per=60, algorithm="fixed_window"), max_lease=20, lease_life=0.05)
    await asyncio.gather(*(limiter.hit("a") for _ in range(5)))
    await asyncio.gather(*(limiter.hit("a") for _ in range(5)))
    await until(lambda: not limiter._allowances and limiter._borrower._timer is None and not hub._tasks)
    assert (await RateLimiter(hub, limiter.limits).peek("a")).remaining == 90


async def test_a_caller_that_is_cancelled_disturbs_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = LeasedRateLimiter(hub, Limit(100, per=60, algorithm="fixed_window"))
    gate, real = asyncio.Event(), hub.client.evalsha

    async def held(*words: Any) -> Any:
        await gate.wait()
        return await real(*words)

    monkeypatch.setattr(hub.client, "evalsha", held)
    tasks = [asyncio.create_task(limiter.hit("a")) for _ in range(3)]
    await until(lambda: bool(limiter._borrower._requests))
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    late = asyncio.create_task(limiter.hit("a"))
    gate.set()
    assert all(await asyncio.gather(*tasks[1:], late)) and tasks[0].cancelled()
    await limiter.aclose()
    assert (await RateLimiter(hub, limiter.limits).peek("a")).remaining == 97


@pytest.mark.parametrize("closes", ["the limiter", "the hub"])
async def test_closing_gives_back_also_what_comes_late(
    client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, closes: str
) -> None:
    hub = Hub(client, key_prefix=prefix)
    limiter = LeasedRateLimiter(hub, Limit(100, per=60, algorithm="fixed_window"), max_lease=50)
    for _ in range(2):
        assert all(await asyncio.gather(*(limiter.hit("a") for _ in range(3))))
    gate, real = asyncio.Event(), client.evalsha

    async def held(*words: Any) -> Any:
        await gate.wait()
        return await real(*words)

    monkeypatch.setattr(client, "evalsha", held)
    late = asyncio.create_task(limiter.hit("b"))
    await until(lambda: bool(limiter._borrower._requests))
    closing = asyncio.create_task(limiter.aclose() if closes == "the limiter" else hub.aclose())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert await late
    with pytest.raises(HubClosed, match="closed"):
        await limiter.hit("a")
    await limiter.aclose()
    async with Hub(client, key_prefix=prefix) as another:
        ordinary = RateLimiter(another, limiter.limits)
        assert [(await ordinary.peek(key)).remaining for key in "ab"] == [94, 99]
    await hub.aclose()


async def test_a_poisoned_key(hub: Hub, raw_client: Any) -> None:
    limiter = LeasedRateLimiter(hub, MINUTE)
    key = limiter._plan.keys("bad")[0]
    raw_client.hset(key, "a", "b")
    raw_client.pexpire(key, 60_000)
    with pytest.raises(StateError, match="something else"):
        await limiter.hit("bad")
    results = await limiter.hit_many(["bad", "good"], return_exceptions=True)
    assert isinstance(results[0], StateError) and results[1]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("max_lease", {"max_lease": 0}), ("max_lease", {"max_lease": 1001}), ("max_lease", {"max_lease": 1.5}),
        ("lease_life", {"lease_life": 0}), ("lease_life", {"lease_life": -1}), ("lease_life", {"lease_life": 30.1}),
        ("lease_life", {"lease_life": "1"}), ("name", {"name": ""}), ("on_error", {"on_error": "ignore"}),
        ("limit", {"limit": [MINUTE]}), ("limit", {"limit": "10/s"}),
        ("lease_life", {"limit": Limit(10, per=1, algorithm="gcra", burst=1), "lease_life": 0.06}),
    ],
)  # fmt: skip
async def test_bad_arguments(hub: Hub, sync_hub: Any, argument: str, options: dict[str, Any]) -> None:
    for make, of in ((LeasedRateLimiter, hub), (riskscale.sync.LeasedRateLimiter, sync_hub)):
        with pytest.raises(ArgumentError) as caught:
            make(of, **{"limit": MINUTE, **options})
        assert caught.value.argument == argument


async def test_bad_hits(hub: Hub, sync_hub: Any) -> None:
    limiter, blocking = LeasedRateLimiter(hub, MINUTE), riskscale.sync.LeasedRateLimiter(sync_hub, MINUTE)
    await limiter.hit("a", 5)
    for argument, key, cost in [
        ("cost", "a", 0),
        ("cost", "a", -1),
        ("cost", "a", True),
        ("cost", "a", 1.0),
        ("key", "", 1),
    ]:
        with pytest.raises(ArgumentError) as caught:
            await limiter.hit(key, cost)  # type: ignore[arg-type]
        assert caught.value.argument == argument
        with pytest.raises(ArgumentError) as caught:
            blocking.hit(key, cost)  # type: ignore[arg-type]
        assert caught.value.argument == argument


@pytest.mark.embedded
def test_another_event_loop(client: Any, prefix: str) -> None:
    limiter = LeasedRateLimiter(Hub(client, key_prefix=prefix), MINUTE)

    async def hit() -> None:
        await limiter.hit("a")

    asyncio.run(hit())
    with pytest.raises(StateError, match="event loop"):
        asyncio.run(hit())


async def test_decisions_are_counted(client: Any, prefix: str) -> None:
    metrics = InMemoryMetrics()
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        limiter = LeasedRateLimiter(hub, Limit(3, per=60), name="api")
        for _ in range(4):
            await limiter.hit("a")
    outcomes = [event.labels["outcome"] for event in metrics.events("rate_decisions")]
    assert outcomes == ["admitted"] * 3 + ["refused"]


# In threads


def test_threads_share_what_one_of_them_borrowed(sync_hub: riskscale.sync.Hub, monkeypatch: Any) -> None:
    line = Counted(sync_hub.client, monkeypatch)
    limiter = riskscale.sync.LeasedRateLimiter(sync_hub, Limit(900, per=60), max_lease=300)
    found: list[bool] = []

    def work() -> None:
        found.extend(limiter.hit(f"t{number % 2}").allowed for number in range(200))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1600 and all(found) and line.calls < 200
    limiter.close()
    ordinary = riskscale.sync.RateLimiter(sync_hub, limiter.limits)
    assert [ordinary.peek(f"t{n}").remaining for n in range(2)] == [100, 100]
    assert not [each for each in threading.enumerate() if each.name == "riskscale-borrower"]
    with pytest.raises(HubClosed):
        limiter.hit("t0")


def test_a_lone_thread(sync_hub: riskscale.sync.Hub) -> None:
    limiter = riskscale.sync.LeasedRateLimiter(sync_hub, Limit(20, per=60), max_lease=1, lease_life=1)
    decisions = [limiter.hit("a") for _ in range(21)]
    assert [bool(each) for each in decisions] == [True] * 20 + [False]
    assert limiter.refund("a", decisions[3]) == 1 and limiter.refund("a", decisions[3]) == 0
    assert limiter.hit("a") and not limiter.peek("a") and limiter.hit("a", 21).retry_after == math.inf
    limiter.reset("a")
    assert [bool(each) for each in limiter.hit_many(["a", ("a", 19), "a"])] == [True, True, False]


def test_many_in_one_call(sync_hub: riskscale.sync.Hub, raw_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_hub.preload()
    limiter = riskscale.sync.LeasedRateLimiter(sync_hub, MINUTE)
    key = limiter._plan.keys("bad")[0]
    raw_client.hset(key, "a", "b")
    raw_client.pexpire(key, 60_000)
    line = Counted(sync_hub.client, monkeypatch)
    items = [*(f"t{n}" for n in range(100)), "t5", ("t6", 2000), "bad"]
    results = limiter.hit_many(items, return_exceptions=True)
    assert line.calls == 2, "one to borrow, and one for what nobody lends"
    assert all(results[:101]) and isinstance(results[102], StateError)
    assert isinstance(results[101], Decision) and results[101].retry_after == math.inf
    with pytest.raises(StateError):
        limiter.hit("bad")


def test_the_thread_ends_when_there_is_nothing_to_look_after(sync_hub: riskscale.sync.Hub) -> None:
    limit = Limit(100, per=60, algorithm="fixed_window")
    limiter = riskscale.sync.LeasedRateLimiter(sync_hub, limit, lease_life=0.05)
    for _ in range(10):
        limiter.hit("a")
    while limiter._allowances or limiter._borrower._thread is not None:
        time.sleep(0.005)
    assert riskscale.sync.RateLimiter(sync_hub, limit).peek("a").remaining == 90


@pytest.mark.embedded
def test_a_fork_does_not_spend_it_again(sync_hub: riskscale.sync.Hub) -> None:
    limiter = riskscale.sync.LeasedRateLimiter(sync_hub, MINUTE)
    for _ in range(5):
        limiter.hit("a")
    assert limiter._allowances["a"].loans[-1].left
    child = os.fork()
    if child == 0:
        try:
            limiter.hit("a")
        except StateError:
            os._exit(17)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


# Without the server


@pytest.mark.owns_server
@pytest.mark.parametrize("on_error", ["raise", "allow", "deny", "local"])
async def test_without_the_server_what_is_borrowed_is_spent_first(scratch_server: ServerProcess, on_error: Any) -> None:
    async with redis.asyncio.Redis.from_url(scratch_server.url) as client, Hub(client) as hub:
        replicas = 50 if on_error == "local" else None
        limit = Limit(100, per=600, algorithm="fixed_window")
        limiter = LeasedRateLimiter(hub, limit, lease_life=120, timeout=0.1, on_error=on_error, replicas=replicas)
        assert all(await asyncio.gather(*(limiter.hit("a") for _ in range(8))))
        for _ in range(3):
            assert await limiter.hit("a")
        borrowed = sum(loan.left for loan in limiter._allowances["a"].loans)
        assert borrowed > 1
        with Outage.stalled(scratch_server):
            for _ in range(borrowed):
                decision = await limiter.hit("a")
                assert decision and not decision.degraded
            if on_error == "raise":
                with pytest.raises((redis.RedisError, OSError, TimeoutError)):
                    await limiter.hit("a")
            else:
                found = [await limiter.hit("a") for _ in range(5)]
                assert all(each.degraded for each in found)
                assert sum(map(bool, found)) == {"allow": 5, "deny": 0, "local": 2}[on_error]
        fresh = (f"b{number}" for number in itertools.count())  # shares go on counting for what was hit meanwhile
        while on_error != "raise" and (await limiter.hit(next(fresh))).degraded:
            await asyncio.sleep(0.01)
        if on_error == "local":
            assert [bool(await limiter.hit("c")) for _ in range(3)] == [True, True, False], "beside the server"
            assert not any(loan.left for loan in limiter._allowances["c"].loans), "nothing is borrowed past the share"


def test_without_the_server_in_threads(scratch_server: ServerProcess) -> None:
    with redis.Redis.from_url(scratch_server.url, socket_timeout=0.1) as client, riskscale.sync.Hub(client) as hub:
        limiter = riskscale.sync.LeasedRateLimiter(hub, MINUTE, lease_life=20, on_error="deny")
        for _ in range(10):
            assert limiter.hit("a")
        with Outage.stalled(scratch_server):
            spent = 0
            while limiter.hit("a"):
                spent += 1
            assert spent >= 1 and limiter.hit("a").degraded
        while not limiter.hit("b"):
            time.sleep(0.01)
