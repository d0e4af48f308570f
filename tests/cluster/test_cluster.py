"""Everything that is held, on a real cluster: keys of one name in one slot, waiting by polls, renewals by slot."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import limits
import limits.aio.strategies
import limits.strategies
import pytest
import redis.cluster

import riskscale.sync
from riskscale import (
    ArgumentError,
    AutoScalingPolicy,
    BreakerPolicy,
    CircuitBreaker,
    CircuitOpen,
    Election,
    FleetMetrics,
    Guard,
    HealthMonitor,
    Hub,
    LeaseLost,
    Limit,
    Lock,
    MultiLock,
    PartitionGroup,
    PartitionRouter,
    RateLimiter,
    ReadWriteLock,
    RedisLimits,
    ScalingAction,
    ScalingController,
    ScalingOrder,
    Semaphore,
)
from riskscale.cli.app import run
from riskscale.integrations.limits import AsyncRiskscaleStorage, RiskscaleStorage
from riskscale.lease.keeper import Keeper

pytestmark = pytest.mark.owns_server
NAMES = [f"job-{number}" for number in range(8)]


def slots(hub: Hub, names: list[str]) -> set[int]:
    return {hub.slot_of(hub.key(name).encode()) for name in names}


async def in_turn(make: Any, waiting: int = 3) -> int:
    """The most at once of several that wait for it."""
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with make().hold(timeout=60):
            inside, most = inside + 1, max(most, inside + 1)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(waiting)))
    return most


async def test_waiters_poll_and_are_served(hub: Hub) -> None:
    assert len(slots(hub, NAMES)) > 4, "names on both nodes"
    for name in NAMES[:2]:
        assert await in_turn(lambda name=name: Lock(hub, name, ttl=60)) == 1
    async with Semaphore(hub, "gpu", limit=2, ttl=60), Semaphore(hub, "gpu", limit=2, ttl=60) as second:
        waiting = asyncio.create_task(in_turn(lambda: Semaphore(hub, "gpu", limit=2, ttl=60)))
        while (await Semaphore(hub, "gpu", limit=2, ttl=60).inspect()).waiting < 3:
            await asyncio.sleep(0.01)
        await second.release()
        assert await waiting == 1
    assert await in_turn(lambda: ReadWriteLock(hub, "map", ttl=60).write()) == 1
    assert hub.mailbox.channel == "", "PUBLISH counts the listeners of one node only"


@pytest.mark.parametrize("tag", [None, "t"])
async def test_several_at_once(hub: Hub, tag: str | None) -> None:
    assert await in_turn(lambda: MultiLock(hub, NAMES[:4], ttl=60, tag=tag)) == 1
    async with MultiLock(hub, NAMES[:4], ttl=60, tag=tag) as lease:
        assert sorted(lease.fences) == NAMES[:4] and all(lease.fences.values())
        backwards = MultiLock(hub, NAMES[3:0:-1], ttl=60, tag=tag)
        assert await backwards.acquire(timeout=0) is None
        await lease.renew(90)
        assert lease.remaining() > 60
    async with backwards:
        assert await Lock(hub, NAMES[0], ttl=1, tag=tag).acquire(timeout=0) is not None


async def test_leases_are_renewed_on_both_nodes(hub: Hub) -> None:
    locks = [Lock(hub, name, ttl=0.6, tag="s", auto_renew=True) for name in NAMES]
    locks += [Lock(hub, name, ttl=0.6, auto_renew=True) for name in NAMES]
    leases = [await lock.acquire(timeout=0) for lock in locks]
    ends = [lease.at + 3 * 0.6 for lease in leases if lease]
    assert len(ends) == 2 * len(NAMES)
    last = leases[-1]
    while last is not None and (await locks[-1].inspect()).held and min(ends) > await now(hub):
        await asyncio.sleep(0.05)
    for lock, lease in zip(locks, leases, strict=True):
        assert lease is not None and (await lock.inspect()).fence == lease.fence
        await lease.release()
    assert not hub.part(Keeper)._book.watches


async def test_operators_see_the_locks_of_both_nodes(
    hub: Hub, cluster: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*words: str) -> tuple[int, str]:
        code = run(["locks", *words, "--redis", f"redis://127.0.0.1:{cluster}"])
        return code, capsys.readouterr().out

    leases = [await Lock(hub, f"seen-{name}", ttl=60).acquire(timeout=0) for name in NAMES]
    code, out = await asyncio.to_thread(command, "list", "--json")
    held = {each["name"]: each["fence"] for each in json.loads(out)["locks"] if each["name"].startswith("seen-")}
    assert code == 0 and held == {lease.name: lease.fence for lease in leases if lease} and len(held) == len(NAMES)
    for lease in leases:
        assert lease is not None
        assert (await asyncio.to_thread(command, "show", lease.name))[0] == 0
        code, out = await asyncio.to_thread(command, "release", lease.name, "--force", "--yes")
        assert code == 0 and "nobody listened" in out
        with pytest.raises(LeaseLost):
            await lease.renew()


async def now(hub: Hub) -> float:
    """The server's clock, as scripts see it."""
    lease = await Lock(hub, "clock", ttl=1).acquire()
    assert lease is not None
    await lease.release()
    return lease.at


async def test_the_rest(hub: Hub) -> None:
    guard = Guard(hub, "row")
    async with Lock(hub, "row", ttl=60) as lease:
        await guard.write("mine", fence=lease.fence, ttl=60)
        assert await guard.read(fence=lease.fence) == b"mine"
    async for term in Election(hub, "leader", ttl=60).terms():
        assert term.fence
        break
    limiter = RateLimiter(hub, Limit(1, per=60), name="api")
    first = [decision.allowed for decision in await limiter.hit_many(NAMES)]
    second = [decision.allowed for decision in await limiter.hit_many(NAMES)]
    assert all(first) and not any(second)
    paced = RateLimiter(hub, Limit(1, per=60, algorithm="gcra"), name="paced")
    booked = [await paced.reserve(name) for name in [*NAMES, NAMES[0]]]
    assert booked[0].delay() == 0 < booked[-1].delay() and await booked[-1].cancel() == 1
    with pytest.raises(ArgumentError, match="min_replicas"):
        Lock(hub, "a", ttl=60, min_replicas=1)


async def test_breakers_re_read(hub: Hub) -> None:
    policy = BreakerPolicy(consecutive_failures=2, open_seconds=0.05, refresh_seconds=0.02)
    async with Hub(hub.client) as other:
        for name in NAMES[:3]:
            one, two = (CircuitBreaker(name=name, policy=policy, redis=each) for each in (hub, other))
            assert await two.call(str) == ""
            for _ in range(2):
                with pytest.raises(ZeroDivisionError):
                    await one.call(lambda: 1 / 0)
            while two.state == "closed":
                await asyncio.sleep(0.005)
            while not one.state == two.state == "closed":
                for each in (one, two):
                    with contextlib.suppress(CircuitOpen):
                        await each.call(str)
                await asyncio.sleep(0.005)


async def test_limits_of_single_keys(hub: Hub) -> None:
    limits = RedisLimits(hub, "api", default=Limit(1, per=60))
    limiter = RateLimiter(hub, limits, name="own")
    await limits.set(NAMES[3], "2/minute")
    for expected in ([True] * 8, [name == NAMES[3] for name in NAMES], [False] * 8):
        assert [decision.allowed for decision in await limiter.hit_many(NAMES)] == expected


async def test_fleets(hub: Hub) -> None:
    orders: asyncio.Queue[ScalingOrder] = asyncio.Queue()
    for name in NAMES[:3]:
        fleet = FleetMetrics(hub, name, interval=0.02, ttl=0.03)
        async with fleet:
            fleet.observe(1.0)
            controller = ScalingController(hub, AutoScalingPolicy(), fleet, orders.put, interval=0.02)
            running = asyncio.create_task(controller.run())
            order = await orders.get()
            assert order.action is ScalingAction.SCALE_UP and (await fleet.snapshot()).requests == 1
            running.cancel()
            await asyncio.wait({running})


async def test_partitions_are_shared_by_beats_and_routed_by_re_reading(hub: Hub) -> None:
    one, two = (PartitionGroup(hub, NAMES[0], 4, 0.3, address=address) for address in ("a", "b"))
    async with one, PartitionRouter(two, refresh=0.02) as router:
        async with two:
            while not len(one.partitions) == len(two.partitions) == 2:
                await asyncio.sleep(0.005)
            while {router.route(str(number)).address for number in range(30)} != {"a", "b"}:
                await asyncio.sleep(0.005)
        while {router.route(str(number)).address for number in range(30)} != {"a"}:
            await asyncio.sleep(0.005)


def test_threads(cluster: int) -> None:
    with (
        redis.cluster.RedisCluster(host="127.0.0.1", port=cluster) as client,
        riskscale.sync.Hub(client) as hub,
        riskscale.sync.MultiLock(hub, NAMES, ttl=60) as lease,
    ):
        assert riskscale.sync.Lock(hub, NAMES[0], ttl=60).acquire(timeout=0.1) is None
        with riskscale.sync.Semaphore(hub, "threads", limit=1, ttl=60):
            lease.renew()


async def test_a_node_answers_for_the_health(hub: Hub, cluster: int) -> None:
    monitor = HealthMonitor()
    monitor.add_redis(hub)
    assert (await monitor.system_health("ready")).http_status == 200
    with redis.cluster.RedisCluster(host="127.0.0.1", port=cluster) as client:
        blocking = riskscale.sync.HealthMonitor()
        blocking.add_redis(client)
        assert blocking.system_health("ready").http_status == 200


async def test_the_storage_of_limits(hub: Hub, cluster: int) -> None:
    """Keys of one identifier in one slot; a reset goes to all nodes."""
    item = limits.parse("2/minute")

    def blocking() -> None:
        with redis.cluster.RedisCluster(host="127.0.0.1", port=cluster) as client:
            storage = RiskscaleStorage(client=client, key_prefix="blocking:")
            limiter = limits.strategies.MovingWindowRateLimiter(storage)
            assert [limiter.hit(item, name, cost=2) for name in (*NAMES, *NAMES)] == [True] * 8 + [False] * 8
            limiter.clear(item, NAMES[0])
            assert limiter.test(item, NAMES[0]) and storage.reset() == 7 and limiter.test(item, NAMES[1])
            assert storage.incr("bare", 60) == 1 and storage.get_expiry("bare") - storage.get_expiry("none") > 50

    await asyncio.to_thread(blocking)
    storage = AsyncRiskscaleStorage(client=hub.client, key_prefix="asyncio:")
    limiter = limits.aio.strategies.MovingWindowRateLimiter(storage)
    hits = await asyncio.gather(*(limiter.hit(item, name, cost=2) for name in (*NAMES, *NAMES)))
    assert sum(hits) == 8 and await storage.reset() == 8 and await limiter.test(item, NAMES[1])
