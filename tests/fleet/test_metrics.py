"""Fleet metrics as a service uses them."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import ArgumentError, FleetMetrics, Hub, ProcessCpu, StateError
from riskscale.fleet.cpu import available
from riskscale.fleet.outbox import Outbox
from riskscale.scaling import PerReplica, Total
from riskscale.testing import VirtualClock, fake_async_client, fake_client, new_fake_server

LONG = 1000.0


class Clock(VirtualClock):
    """The server's and the replicas' at once: ``monotonic`` goes on with it."""

    def monotonic(self) -> float:
        return self.now_us / 1e6


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def virtual(client: Any, prefix: str, clock: Clock) -> Hub:
    hub = Hub(client, key_prefix=prefix, clock=clock)
    hub.monotonic = clock.monotonic
    return hub


def replicas(hub: Hub, many: int, **options: Any) -> list[FleetMetrics]:
    return [FleetMetrics(hub, "orders", interval=5, window=60, **options) for _ in range(many)]


async def reported(fleets: list[FleetMetrics]) -> None:
    for each in fleets:
        await each.report()


async def test_what_replicas_say_is_one_snapshot(virtual: Hub, clock: Clock) -> None:
    fleets = [
        FleetMetrics(virtual, "orders", cpu=lambda at=at: 20.0 * at, queue_depth=lambda at=at: at) for at in (1, 2, 3)
    ]
    for at, each in enumerate(fleets):
        for number in range(100):
            each.observe(0.001 * (number + 100 * at), failed=number < at)
    await reported(fleets)
    clock.advance(15)
    await reported(fleets)
    seen = await fleets[0].snapshot()
    assert (seen.requests, seen.failures, seen.failure_rate) == (300, 3, 0.01)
    assert seen.request_latency_p99_ms == pytest.approx(296, rel=1 / 64)  # the 297th of 0, 1, ... 299 ms
    assert (seen.cpu_usage_pct, seen.queue_depth, seen.current_replicas) == (40.0, 6, 3)
    assert seen.at == clock() / 1e6 and {each.replica for each in seen.members} == {each.replica for each in fleets}
    observed = seen.observations()
    cpu = observed["cpu_usage_pct"]
    assert isinstance(cpu, PerReplica) and sorted(v or 0 for v in cpu.values) == [20.0, 40.0, 60.0]
    assert observed["queue_depth"] == Total(6)


async def test_who_dies_drops_out_after_its_ttl_and_its_requests_with_the_window(virtual: Hub, clock: Clock) -> None:
    alive, dead = replicas(virtual, 2)
    dead.observe(1.0, failed=True)
    await reported([alive, dead])
    clock.advance(15, us=-1)
    await alive.report()
    assert len((await alive.snapshot()).members) == 2
    clock.advance(us=1)
    seen = await alive.snapshot()
    assert [each.replica for each in seen.members] == [alive.replica] and seen.current_replicas == 1
    assert (seen.requests, seen.failure_rate) == (1, 1.0), "it happened"
    clock.advance(60)
    assert (await alive.snapshot()).requests == 0


async def test_nothing_told_is_nothing_there_only_where_all_is_told(virtual: Hub, clock: Clock) -> None:
    (fleet,) = replicas(virtual, 1)
    await fleet.report()
    seen = await fleet.snapshot()
    assert (seen.request_latency_p99_ms, seen.failure_rate) == (None, None), "it may have no eyes"
    fleet.observe(0.1)
    await fleet.report()
    clock.advance(61)
    await fleet.report()
    seen = await fleet.snapshot()
    assert (seen.requests, seen.request_latency_p99_ms, seen.failure_rate) == (0, 0.0, 0.0), "it is idle"


async def test_after_a_loss_the_number_of_replicas_is_not_known_for_a_ttl(
    virtual: Hub, clock: Clock, raw_client: Any
) -> None:
    fleets = replicas(virtual, 3)
    await reported(fleets)
    clock.advance(15)
    await reported(fleets)
    assert (await fleets[0].snapshot()).current_replicas == 3
    raw_client.delete(*fleets[0]._keys.all)
    await fleets[0].report()
    seen = await fleets[0].snapshot()
    assert (len(seen.members), seen.current_replicas) == (1, None)
    clock.advance(5)
    await reported(fleets)
    clock.advance(10)
    assert (await fleets[0].snapshot()).current_replicas == 3


async def test_after_a_silence_of_all_it_is_not_known_either(virtual: Hub, clock: Clock) -> None:
    """The server was out of reach for longer than a ttl, or its clock stepped ahead: who is first back is not alone."""
    fleets = replicas(virtual, 3)
    await reported(fleets)
    clock.advance(15)
    await reported(fleets)
    clock.advance(20)
    assert (await fleets[0].snapshot()).current_replicas is None, "not 0"
    await fleets[0].report()
    seen = await fleets[0].snapshot()
    assert (len(seen.members), seen.current_replicas) == (1, None)
    clock.advance(5)
    await reported(fleets)
    clock.advance(10)
    assert (await fleets[0].snapshot()).current_replicas == 3


async def test_after_the_clock_went_back_it_is_not_known_either(virtual: Hub, clock: Clock) -> None:
    fleets = replicas(virtual, 3)
    for _ in range(2):
        await reported(fleets)
        clock.advance(15)
    await fleets[0].report()
    clock.advance(-1)  # who else is alive is in doubt
    assert (await fleets[0].snapshot()).current_replicas is None
    await fleets[0].report()
    clock.advance(5)
    await reported(fleets)
    assert (await fleets[0].snapshot()).current_replicas is None
    clock.advance(10)
    assert (await fleets[0].snapshot()).current_replicas == 3


async def test_what_was_not_answered_is_told_again_and_counted_once(
    virtual: Hub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fleet,) = replicas(virtual, 1)
    real, lost = virtual.client.evalsha, True

    async def evalsha(*words: Any) -> Any:
        reply = await real(*words)
        if lost:
            raise redis.ConnectionError("the reply was lost")
        return reply

    fleet.observe(0.1)
    await virtual.preload(["fleet.report"])
    monkeypatch.setattr(virtual.client, "evalsha", evalsha)
    for _ in range(3):  # taken over the first time; the others come behind it
        with pytest.raises(redis.ConnectionError):
            await fleet.report()
        fleet.observe(0.2)
        clock.advance(5)
    lost = False
    await fleet.report()
    assert (await fleet.snapshot()).requests == 4
    begun = {name.split(b"|")[0] for name in await virtual.client.hkeys(fleet._keys.window)} - {b"swept_us"}
    assert len(begun) >= 3, "each in the slice in which it ended"


def test_what_left_the_window_is_not_told_any_more(clock: Clock) -> None:
    outbox = Outbox(clock.monotonic, 60.0)
    for _ in range(30):
        outbox.note(0.1, True)
        outbox.close(None, None, leaves=False)
        clock.advance(5)
    due = []
    for batch, age_us in outbox.due():
        due.append((batch.sequence, age_us))
        outbox.answered()
    assert due == [(sequence, (31 - sequence) * 5_000_000) for sequence in range(19, 31)]
    outbox.note(0.1, True)
    clock.advance(61)  # held up for longer than the window: what ended when is not known
    outbox.close(7, None, leaves=False)
    ((batch, age_us),) = [(batch, age_us) for batch, age_us in outbox.due() if outbox.answered() is None]
    assert (batch.counts, batch.failures, batch.cpu_ppm, batch.observes, age_us) == ({}, 0, 7, True, 0)


def test_threads_lose_nothing() -> None:
    outbox, told = Outbox(lambda: 0.0, 60.0), 0
    begin = threading.Barrier(5)

    def note() -> None:
        begin.wait()
        for _ in range(5000):
            outbox.note(0.001, True)

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin.wait()
    failed = 0
    while any(thread.is_alive() for thread in threads) or told < 20_000:
        outbox.close(None, None, leaves=False)
        for batch, _ in outbox.due():
            told, failed = told + sum(batch.counts.values()), failed + batch.failures
            outbox.answered()
    assert told == failed == 20_000


async def test_it_reports_by_itself_and_leaves_at_the_end(hub: Hub) -> None:
    watcher = FleetMetrics(hub, "orders", ttl=LONG)
    async with FleetMetrics(hub, "orders", interval=0.02, ttl=LONG, cpu=lambda: 50) as fleet:
        fleet.observe(0.1)
        while not (seen := await watcher.snapshot()).requests:
            await asyncio.sleep(0.001)
        assert seen.members[0].replica == fleet.replica and seen.cpu_usage_pct == 50
        fleet.start()  # twice is once
        fleet.observe(0.2)
        while (await watcher.snapshot()).requests < 2:
            await asyncio.sleep(0.001)
        fleet.observe(0.3)
    seen = await watcher.snapshot()
    assert (seen.requests, seen.members) == (3, ()), "it told all, and is gone"
    await fleet.leave()


async def test_the_end_of_the_hub_is_an_orderly_leave(client: Any, hub: Hub, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as mine:
        fleet = FleetMetrics(mine, "orders", interval=50, ttl=LONG)
        fleet.start()
        while not (await fleet.snapshot()).members:
            await asyncio.sleep(0.001)
        fleet.observe(0.1)
    seen = await FleetMetrics(hub, "orders", ttl=LONG).snapshot()
    assert (seen.requests, seen.members) == (1, ())


async def test_an_outage_is_lived_through(prefix: str, caplog: Any) -> None:
    server = new_fake_server()
    async with fake_async_client(server) as client, Hub(client, key_prefix=prefix) as hub:
        async with FleetMetrics(hub, "orders", interval=0.01, ttl=LONG) as fleet:
            while not (await fleet.snapshot()).members:
                await asyncio.sleep(0.001)
            server.connected = False
            fleet.observe(0.1)
            while "no report" not in caplog.text:
                await asyncio.sleep(0.001)
            fleet.observe(0.2)
            server.connected = True
            while (await fleet.snapshot()).requests < 2:
                await asyncio.sleep(0.001)
            server.connected = False
        assert "no farewell" in caplog.text, "and the end is one, too"
        server.connected = True


async def test_a_gauge_that_fails_is_not_told(hub: Hub, caplog: Any) -> None:
    answers: list[Any] = [ValueError("broken"), -1.0, float("nan"), "12", None, 12.5]

    async def cpu() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    fleet = FleetMetrics(hub, "orders", ttl=LONG, cpu=cpu, queue_depth=lambda: 3)
    for _ in range(5):
        await fleet.report()
        seen = await fleet.snapshot()
        assert (seen.cpu_usage_pct, seen.queue_depth) == (None, 3)
    assert "no cpu" in caplog.text and len(caplog.records) == 2, "once for each kind of error"
    await fleet.report()
    assert (await fleet.snapshot()).cpu_usage_pct == 12.5


async def test_a_gauge_that_awaits_what_was_cancelled_is_not_told(hub: Hub, caplog: Any) -> None:
    """And does not end the reports."""
    work = asyncio.create_task(asyncio.sleep(LONG))
    work.cancel()
    async with FleetMetrics(hub, "orders", interval=0.01, cpu=lambda: work) as fleet:
        while fleet._outbox._sequence < 3:
            await asyncio.sleep(0.001)
    assert "no cpu" in caplog.text and "CancelledError" in caplog.text


async def test_a_key_that_holds_something_else(hub: Hub, raw_client: Any, prefix: str) -> None:
    raw_client.set(f"{prefix}rs1:{{orders}}:fleet", "x", ex=100)
    fleet = FleetMetrics(hub, "orders")
    for act in (fleet.report, fleet.snapshot):
        with pytest.raises(StateError):
            await act()


BAD: list[tuple[str, dict[str, Any]]] = [
    ("group", {"group": ""}),
    ("group", {"group": b"orders"}),
    ("interval", {"interval": 0}),
    ("interval", {"interval": "5"}),
    ("interval", {"interval": float("nan")}),
    ("window", {"window": 4}),
    ("window", {"window": -1}),
    ("ttl", {"ttl": 5}),
    ("ttl", {"ttl": 4000}),
    ("cpu", {"cpu": 50}),
    ("queue_depth", {"queue_depth": "many"}),
]


@pytest.mark.parametrize(("argument", "options"), BAD)
def test_bad_arguments_are_named(argument: str, options: dict[str, Any]) -> None:
    server = new_fake_server()
    options = {"group": "orders", **options}
    with pytest.raises(ArgumentError, match=f"^{argument} "):
        FleetMetrics(fake_async_client(server), **options)
    with fake_client(server) as client, pytest.raises(ArgumentError, match=f"^{argument} "):
        riskscale.sync.FleetMetrics(client, **options)


@pytest.mark.parametrize("latency", [-0.1, float("nan"), float("inf"), "0.1", None, True])
def test_bad_latencies_are_refused(client: Any, latency: Any) -> None:
    fleet = FleetMetrics(client, "orders")
    with pytest.raises(ArgumentError, match="latency"):
        fleet.observe(latency)
    fleet.observe(10**9)  # whatever is longest
    fleet.observe(0)


def test_threads_need_no_coroutine_functions(sync_client: Any) -> None:
    async def cpu() -> float:
        return 1.0

    with pytest.raises(ArgumentError, match="cpu is a coroutine function"):
        riskscale.sync.FleetMetrics(sync_client, "orders", cpu=cpu)


def test_a_thread_reports_and_the_end_of_the_hub_is_a_leave(sync_hub: Any, sync_client: Any, prefix: str) -> None:
    watcher = riskscale.sync.FleetMetrics(sync_hub, "orders", ttl=LONG)
    with riskscale.sync.Hub(sync_client, key_prefix=prefix) as mine:
        fleet = riskscale.sync.FleetMetrics(mine, "orders", interval=0.02, ttl=LONG, queue_depth=lambda: 4)
        other = riskscale.sync.FleetMetrics(mine, "orders", interval=50, ttl=LONG)
        with fleet:
            other.start()
            pause = threading.Event()
            fleet.observe(0.1)
            while len((seen := watcher.snapshot()).members) < 2 or not seen.requests:
                pause.wait(0.001)
            assert seen.queue_depth == 4
            fleet.observe(0.2)
        assert [each.replica for each in watcher.snapshot().members] == [other.replica]
        other.observe(0.3)
    seen = watcher.snapshot()
    assert (seen.requests, seen.members) == (3, ())
    assert not [thread for thread in threading.enumerate() if thread.name == "riskscale-fleet"]


def test_the_cpu_of_a_process(tmp_path: Any) -> None:
    cpu, deadline = ProcessCpu(1), 0
    while not (used := cpu()) or used < 1:
        deadline += sum(range(10_000)) > 0
        assert deadline < 10_000
    assert ProcessCpu().cpus == available() > 0
    quota = tmp_path / "cpu.max"
    for text, expected in (("50000 100000\n", 0.5), ("max 100000\n", None), ("", None)):
        quota.write_text(text)
        assert available(quota) == expected or expected is None
    for bad in (0, -1, float("nan"), "2", True):
        with pytest.raises(ArgumentError, match="cpus"):
            ProcessCpu(bad)  # type: ignore[arg-type]


def test_nothing_is_logged_where_nothing_is_wrong(caplog: Any, sync_hub: Any) -> None:
    with caplog.at_level(logging.DEBUG, "riskscale"):
        riskscale.sync.FleetMetrics(sync_hub, "orders").report()
    assert not [record for record in caplog.records if record.name.startswith("riskscale")]
