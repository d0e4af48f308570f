"""The controller as a service runs it."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import (
    ArgumentError,
    AutoScalingPolicy,
    BreakerState,
    Election,
    FleetMetrics,
    Hub,
    InMemoryMetrics,
    MetricsSnapshot,
    ScalingAction,
    ScalingController,
    ScalingOrder,
    StateError,
    TargetTrackingPolicy,
)
from riskscale.cli.app import run
from riskscale.testing import Outage, fake_async_client, fake_client, new_fake_server

POLICY = AutoScalingPolicy(max_replicas=100)
ACTIONS = [action.value for action in ScalingAction]
HIGH, LOW = MetricsSnapshot(99, 1000, 1.0, 1000, 3), MetricsSnapshot(1, 1, 0.0, 0, 3)


class Fleet:
    """Says what it is told to say, asyncio or not."""

    group = "orders"

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), 0

    def snapshot(self) -> Any:
        self.asked += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Orders(list[ScalingOrder]):
    """What was applied, and an event when so many were."""

    async def reach(self, many: int) -> None:
        async with asyncio.timeout(20):
            while len(self) < many:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def running(*controllers: ScalingController) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(each.run()) for each in controllers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_it_scales_by_what_the_fleet_says(hub: Hub) -> None:
    orders = Orders()
    async with FleetMetrics(hub, "orders", interval=0.02, ttl=0.03) as fleet:
        fleet.observe(0.7)
        controller = ScalingController(hub, POLICY, fleet, orders.append, interval=0.02)
        async with running(controller):
            await orders.reach(1)
            assert controller.name == "orders" and controller.term is not None
            (order, *_) = orders
            assert order.action is ScalingAction.SCALE_UP and "request_latency_p99_ms 696.32" in order.reason
            assert order.fence == controller.term.fence
            assert order.snapshot.current_replicas is not None, "the server knows the fleet for a ttl"
    assert controller.term is None and controller.last is not None


async def test_of_several_one_decides_and_an_orderly_end_hands_over(hub: Hub) -> None:
    orders, fleets = Orders(), [Fleet(HIGH) for _ in range(3)]
    made = [ScalingController(hub, POLICY, fleet, orders.append, interval=0.02) for fleet in fleets]
    async with running(*made) as tasks:
        await orders.reach(3)
        leader = next(at for at, each in enumerate(made) if each.term)
        assert [fleet.asked > 0 for fleet in fleets] == [at == leader for at in range(3)]
        tasks[leader].cancel()
        await asyncio.wait({tasks[leader]})
        before = len(orders)
        await orders.reach(before + 3)
    assert all(two.at - one.at >= 0.02 - 1e-6 for one, two in itertools.pairwise(orders))
    assert len({order.fence for order in orders}) == 2 and orders == sorted(orders, key=lambda order: order.fence)


async def test_a_change_is_not_followed_by_another_within_its_cooldown_whoever_leads(hub: Hub) -> None:
    orders = Orders()
    for _ in range(2):  # one after the other
        fleet = Fleet(HIGH)
        controller = ScalingController(hub, POLICY, fleet, orders.append, interval=0.01, cooldown=600)
        async with running(controller):
            while fleet.asked < 3:
                await asyncio.sleep(0.001)
        assert controller.last is not None and len(orders) == 1
    assert controller.last.limited_by == "cooldown"


async def test_a_lost_lease_cancels_what_is_under_way(hub: Hub, raw_client: Any, prefix: str) -> None:
    applying, cut = asyncio.Event(), asyncio.Event()
    orders = Orders()

    async def apply(order: ScalingOrder) -> None:
        orders.append(order)
        applying.set()
        try:
            await asyncio.sleep(60 if len(orders) == 1 else 0)
        except asyncio.CancelledError:
            cut.set()
            raise

    controller = ScalingController(hub, POLICY, Fleet(HIGH), apply, interval=0.02, ttl=0.3)
    async with running(controller), asyncio.timeout(20):
        await applying.wait()
        assert raw_client.delete(f"{prefix}rs1:{{orders}}:scaling:election") == 1
        await cut.wait()
        await orders.reach(2)
    assert orders[1].fence > orders[0].fence


async def test_a_cancellation_that_was_swallowed_is_one(hub: Hub) -> None:
    """As clients do before Python 3.12, where a reply comes with it."""
    orders = Orders()

    class Numb(Fleet):
        async def snapshot(self) -> Any:
            self.asked += 1
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            return HIGH

    fleet = Numb()
    async with running(ScalingController(hub, POLICY, fleet, orders.append, interval=0.01)):
        while not fleet.asked:
            await asyncio.sleep(0.001)
    assert not orders and fleet.asked == 1


async def test_who_comes_too_late_is_refused(hub: Hub, caplog: Any) -> None:
    """A leader that slept does not write over what a later one decided, nor act."""
    orders, entered, wake = Orders(), asyncio.Event(), asyncio.Event()

    class Sleepy(Fleet):
        async def snapshot(self) -> Any:
            entered.set()
            await wake.wait()
            return HIGH

    controller = ScalingController(hub, POLICY, Sleepy(), orders.append, interval=0.02, ttl=30)
    async with running(controller):
        await entered.wait()
        assert controller.term is not None
        later = controller.term.fence + 1
        await hub.run(controller._begin(later))
        wake.set()
        while "StaleFence" not in caplog.text:
            await asyncio.sleep(0.001)
    assert not orders and controller.last is None


async def test_what_is_raised_is_logged_and_the_next_interval_decides_anew(hub: Hub, caplog: Any) -> None:
    orders = Orders()

    async def apply(order: ScalingOrder) -> None:
        orders.append(order)
        if len(orders) == 1:
            raise ValueError("no machine to be had")
        if len(orders) == 2:
            raise asyncio.CancelledError("of what it awaited, not of this task")

    fleet = Fleet(OSError("no metrics"), ArgumentError("cpu_usage_pct", "must be finite"), HIGH)
    async with running(ScalingController(hub, POLICY, fleet, apply, interval=0.01)):
        await orders.reach(4)
    assert "not of this task" in caplog.text
    assert "no metrics" in caplog.text and "must be finite" in caplog.text and "no machine to be had" in caplog.text


async def test_an_outage_is_lived_through(prefix: str, caplog: Any) -> None:
    server, orders = new_fake_server(), Orders()
    outage = Outage.of_embedded(server)
    async with (
        fake_async_client(server) as client,
        Hub(client, key_prefix=prefix) as hub,
        running(ScalingController(hub, POLICY, Fleet(HIGH), orders.append, interval=0.02, ttl=0.2)),
    ):
        await orders.reach(2)
        with outage:
            while "no turn of the scaling of 'orders'" not in caplog.text:
                await asyncio.sleep(0.001)
            before = len(orders)
        await orders.reach(before + 2)


async def test_the_end_of_the_hub_ends_it(client: Any, prefix: str) -> None:
    orders = Orders()
    async with Hub(client, key_prefix=prefix) as mine:
        leader, other = (ScalingController(mine, POLICY, Fleet(HIGH), orders.append, interval=0.02) for _ in range(2))
        tasks = [asyncio.create_task(each.run()) for each in (leader, other)]
        await orders.reach(2)
    await asyncio.wait_for(asyncio.gather(*tasks), 20)


async def test_a_poisoned_key_is_not_lived_with(hub: Hub, raw_client: Any, prefix: str) -> None:
    raw_client.lpush(f"{prefix}rs1:{{orders}}:scaling-memory", "x")
    raw_client.expire(f"{prefix}rs1:{{orders}}:scaling-memory", 100)
    with pytest.raises(StateError):
        await ScalingController(hub, POLICY, Fleet(HIGH), print).run()


async def test_it_is_no_election_that_others_hold(hub: Hub) -> None:
    orders = Orders()
    async for _ in Election(hub, "orders", ttl=30).terms():
        async with running(ScalingController(hub, POLICY, Fleet(HIGH), orders.append, interval=0.02)):
            await orders.reach(1)
        break


@pytest.mark.server
async def test_people_see_who_leads_and_can_depose_it(backend: Any, hub: Hub, prefix: str, capsys: Any) -> None:
    orders, where = Orders(), ["--tag", "orders", "--election", "--redis", backend.url, "--key-prefix", prefix]
    async with running(ScalingController(hub, POLICY, Fleet(HIGH), orders.append, interval=0.02)):
        await orders.reach(1)
        assert await asyncio.to_thread(run, ["locks", "show", "scaling", *where]) == 0
        assert str(orders[0].fence) in capsys.readouterr().out
        assert await asyncio.to_thread(run, ["locks", "release", "scaling", "--force", "--yes", *where]) == 0
        async with asyncio.timeout(20):
            while orders[-1].fence == orders[0].fence:
                await asyncio.sleep(0.001)


async def test_open_breakers_hold_a_scale_up(hub: Hub) -> None:
    class Breaker:
        name, state = "payments", BreakerState.OPEN

    policy = AutoScalingPolicy(hold_while_open=True)
    fleet = Fleet(HIGH)
    controller = ScalingController(hub, policy, fleet, print, interval=0.01, breakers=[Breaker()])
    async with running(controller):
        while controller.last is None:
            await asyncio.sleep(0.001)
    assert controller.last.limited_by == "open breaker" and controller.last.snapshot.open_breakers == ("payments",)


async def test_decisions_are_counted(client: Any, prefix: str) -> None:
    counted, orders = InMemoryMetrics(), Orders()

    def apply(order: ScalingOrder) -> None:
        orders.append(order)
        raise OSError("not today")

    policy = TargetTrackingPolicy(targets={"cpu_usage_pct": 50}, max_replicas=100)
    async with Hub(client, key_prefix=prefix, metrics=counted) as hub:
        fleet = Fleet(MetricsSnapshot(50, current_replicas=4), MetricsSnapshot(100, current_replicas=4))
        async with running(ScalingController(hub, policy, fleet, apply, interval=0.01)):
            await orders.reach(1)
    decisions = {action: counted.total("scaling_decisions", group="orders", action=action) for action in ACTIONS}
    assert decisions["no_action"] == 1 and decisions["scale_up"] >= 1
    assert counted.total("scaling_apply_failures", group="orders") >= 1
    assert counted.last("scaling_replicas", group="orders") == 4
    assert counted.last("scaling_replicas_wanted", group="orders") in (4, 8)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("policy", {"policy": "up"}),
    ("fleet", {"fleet": HIGH}),
    ("apply", {"apply": None}),
    ("interval", {"interval": 0}),
    ("interval", {"interval": float("inf")}),
    ("cooldown", {"cooldown": -1}),
    ("ttl", {"ttl": 0}),
    ("name", {"name": ""}),
    ("breakers", {"breakers": ["payments"]}),
    ("name", {"fleet": type("Nameless", (), {"snapshot": print})()}),
]


@pytest.mark.parametrize(("argument", "options"), BAD)
def test_bad_arguments_are_named(argument: str, options: dict[str, Any], client: Any, sync_client: Any) -> None:
    words = {"policy": POLICY, "fleet": Fleet(HIGH), "apply": print, **options}
    with pytest.raises(ArgumentError, match=f"^{argument} "):
        ScalingController(client, **words)
    with pytest.raises(ArgumentError, match=f"^{argument} "):
        riskscale.sync.ScalingController(sync_client, **words)


def test_threads_need_no_coroutine_functions(sync_client: Any) -> None:
    async def apply(_: ScalingOrder) -> None: ...

    hub = riskscale.sync.Hub(sync_client)
    fleet = riskscale.sync.FleetMetrics(hub, "orders")
    with pytest.raises(ArgumentError, match="apply is a coroutine function"):
        riskscale.sync.ScalingController(hub, AutoScalingPolicy(), fleet, apply)


def test_a_thread_scales_too(sync_client: Any, prefix: str, caplog: Any) -> None:
    orders: list[ScalingOrder] = []
    enough = threading.Event()

    def apply(order: ScalingOrder) -> None:
        orders.append(order)
        if len(orders) == 2:
            raise ValueError("no machine to be had")
        if len(orders) == 4:
            enough.set()

    with riskscale.sync.Hub(sync_client, key_prefix=prefix) as hub:
        fleets = [Fleet(redis.ConnectionError("no metrics"), HIGH) for _ in range(2)]
        made = [riskscale.sync.ScalingController(hub, POLICY, each, apply, interval=0.02) for each in fleets]
        threads = [threading.Thread(target=each.run) for each in made]
        for thread in threads:
            thread.start()
        assert enough.wait(20)
        assert sorted(each.asked > 0 for each in fleets) == [False, True]
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert all(two.at - one.at >= 0.02 - 1e-6 for one, two in itertools.pairwise(orders))
    assert "no machine to be had" in caplog.text and "no metrics" in caplog.text


def test_a_thread_that_lost_its_lease_does_not_act(prefix: str) -> None:
    server, orders = new_fake_server(), list[ScalingOrder]()
    with fake_client(server) as client, riskscale.sync.Hub(client, key_prefix=prefix) as hub:
        fences = []

        class Lost(Fleet):
            def snapshot(self) -> Any:
                assert controller.term is not None
                fences.append(controller.term.fence)
                if len(fences) == 1:
                    client.delete(f"{prefix}rs1:{{orders}}:scaling:election")
                    assert controller.term.lost.wait(20)
                return super().snapshot()

        controller = riskscale.sync.ScalingController(hub, POLICY, Lost(HIGH), orders.append, interval=0.02, ttl=0.3)
        thread = threading.Thread(target=controller.run)
        thread.start()
        pause = threading.Event()
        while not orders:
            pause.wait(0.001)
    thread.join(20)
    assert not thread.is_alive()
    assert fences[0] not in {order.fence for order in orders} and orders[0].fence > fences[0]
