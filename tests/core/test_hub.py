"""The hub: clients, clocks, time budgets, recovery from a lost script cache, closing."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import threading
from typing import Any

import fakeredis
import pytest
import redis

import riskscale
import riskscale.sync
from riskscale import ArgumentError, Hub, HubClosed, Limit, Lock, RateLimiter, StateError
from riskscale._core.base import is_noscript, translated
from riskscale._core.call import Call
from riskscale._core.scripts import names, script
from riskscale.lock.calls import LockKeys
from riskscale.testing import ServerProcess, VirtualClock


async def test_a_blocking_client_is_refused_by_asyncio_classes_and_the_reverse() -> None:
    with pytest.raises(ArgumentError, match=r"riskscale\.sync"):
        Hub(fakeredis.FakeRedis())
    with pytest.raises(ArgumentError, match="blocking one"):
        riskscale.sync.Lock(fakeredis.FakeAsyncRedis(), "a", ttl=1)
    with pytest.raises(ArgumentError, match="evalsha"):
        Hub(object())
    with pytest.raises(ArgumentError, match=r"client is a blocking hub; use riskscale\.sync"):
        Lock(riskscale.sync.Hub(fakeredis.FakeRedis()), "a", ttl=1)
    with pytest.raises(ArgumentError, match=r"client is an asyncio hub; use riskscale, or give riskscale\.sync"):
        riskscale.sync.Lock(Hub(fakeredis.FakeAsyncRedis()), "a", ttl=1)
    with pytest.raises(ArgumentError, match="client is a hub already"):
        Hub(Hub(fakeredis.FakeAsyncRedis()))


@pytest.mark.parametrize(
    ("option", "value"),
    [("key_prefix", "a b"), ("clock", 7), ("timeout", -1), ("timeout", float("nan")), ("max_in_flight", 0)],
)
def test_bad_options_are_named(option: str, value: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        Hub(fakeredis.FakeAsyncRedis(), **{option: value})
    assert caught.value.argument == option


@pytest.mark.parametrize("bad", [-1, 2**53, 1.5, "1", None, True])
async def test_a_clock_that_lies_is_refused_before_anything_is_sent(bad: Any, client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix, clock=lambda: bad) as hub:
        with pytest.raises(ArgumentError, match="clock"):
            await RateLimiter(hub, Limit(1, per=1)).hit("a")


async def test_a_client_clock_has_keys_of_its_own(client: Any, raw_client: Any, prefix: str) -> None:
    clock = VirtualClock()
    async with Hub(client, key_prefix=prefix, clock=clock) as hub:
        decision = await RateLimiter(hub, Limit(1, per=60)).hit("a")
        assert decision.at == pytest.approx(clock() / 1e6)
    assert [key.decode() for key in raw_client.scan_iter(f"{prefix}*")] == [
        f"{prefix}rs1c:{{a}}:rate:default:60s:sliding_log"
    ]


@pytest.mark.owns_server
async def test_a_flushed_script_cache_is_no_matter(hub: Hub, raw_client: Any) -> None:
    limiter = RateLimiter(hub, Limit(1000, per=60))
    for turn in range(20):
        if turn % 3 == 0:
            raw_client.script_flush()
        assert await limiter.hit("a")
    raw_client.script_flush()
    results = await asyncio.gather(*(limiter.hit("a") for _ in range(50)))
    assert sorted(each.remaining for each in results) == list(range(930, 980))


@pytest.mark.owns_server
def test_a_flushed_script_cache_is_no_matter_to_threads(sync_hub: riskscale.sync.Hub, raw_client: Any) -> None:
    limiter = riskscale.sync.RateLimiter(sync_hub, Limit(1000, per=60))
    assert limiter.hit("a")
    raw_client.script_flush()
    assert limiter.hit("a").remaining == 998


async def test_a_restart_of_the_server_is_no_matter(scratch_server: ServerProcess) -> None:
    client = redis.asyncio.Redis.from_url(scratch_server.url)
    async with Hub(client) as hub:
        limiter = RateLimiter(hub, Limit(10, per=60))
        assert (await limiter.hit("a")).remaining == 9
        scratch_server.kill()
        with pytest.raises(redis.ConnectionError):  # the client's own errors pass through
            await limiter.hit("a")
        scratch_server.start()
        assert (await limiter.hit("a")).remaining == 9  # nothing was persisted
    await client.aclose()


async def test_preload_loads_every_script(hub: Hub, raw_client: Any) -> None:
    await hub.preload()
    assert all(raw_client.script_exists(*(script(name).sha for name in names())))


@pytest.mark.server
@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_any_client_works(connect: Any, sync_connect: Any, prefix: str, decode: bool, protocol: int) -> None:
    await check_client(connect(decode_responses=decode, protocol=protocol), prefix)
    check_sync_client(sync_connect(decode_responses=decode, protocol=protocol), prefix)


@pytest.mark.server
@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
async def test_valkey_py_works(backend: Any, prefix: str, decode: bool, protocol: int) -> None:
    valkey = pytest.importorskip("valkey")
    url = backend.url.replace("redis://", "valkey://")
    options = {"decode_responses": decode, "protocol": protocol, **backend.login}
    client = valkey.asyncio.Valkey.from_url(url, **options)
    await check_client(client, prefix)
    await client.aclose()
    blocking = valkey.Valkey.from_url(url, **options)
    check_sync_client(blocking, prefix)
    blocking.close()


async def check_client(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as hub:
        async with Lock(hub, "job", ttl=5, metadata="naïve") as lease:
            info = await Lock(hub, "job", ttl=5).inspect()
            assert (info.owner, info.metadata, info.fence) == (lease.token, "naïve", lease.fence)
        assert await RateLimiter(hub, Limit(2, per=60)).hit("a")
        with pytest.raises(ArgumentError, match=r"^owner "):
            await hub.run(Call("lock.acquire", LockKeys.of(hub.key("job")).all, ("", 1000, "", "", ""), list))


def check_sync_client(client: Any, prefix: str) -> None:
    with riskscale.sync.Hub(client, key_prefix=prefix) as hub:
        with riskscale.sync.Lock(hub, "job2", ttl=5, metadata="naïve") as lease:
            info = riskscale.sync.Lock(hub, "job2", ttl=5).inspect()
            assert (info.owner, info.metadata, info.fence) == (lease.token, "naïve", lease.fence)
        assert riskscale.sync.RateLimiter(hub, Limit(2, per=60)).hit("b")


async def test_closing_refuses_wakes_and_releases(client: Any, raw_client: Any, prefix: str) -> None:
    hub = Hub(client, key_prefix=prefix)
    lock = Lock(hub, "job", ttl=60)
    lease = await lock.acquire()
    waiter = asyncio.create_task(lock.acquire())
    other = Lock(Hub(client, key_prefix=prefix), "job", ttl=60)
    while (await other.inspect()).waiting == 0:
        await asyncio.sleep(0)
    await hub.aclose()
    await hub.aclose()
    assert lease is not None and lease.released_at is not None
    with pytest.raises(HubClosed):
        await waiter
    with pytest.raises(HubClosed):
        await lock.acquire()
    info = await other.inspect()
    assert not info.held and info.waiting == 0


def test_closing_releases_for_threads(sync_client: Any, prefix: str) -> None:
    hub = riskscale.sync.Hub(sync_client, key_prefix=prefix)
    lock = riskscale.sync.Lock(hub, "job", ttl=60)
    lease = lock.acquire()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            lock.acquire()
        except HubClosed as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    other = riskscale.sync.Lock(riskscale.sync.Hub(sync_client, key_prefix=prefix), "job", ttl=60)
    while other.inspect().waiting == 0:
        pass
    hub.close()
    thread.join(10)
    assert len(errors) == 1 and lease is not None and lease.released_at is not None
    assert not other.locked()


async def test_a_hub_belongs_to_its_loop(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(1, per=1))
    await limiter.hit("a")
    with pytest.raises(StateError, match="event loop"):
        await asyncio.to_thread(lambda: asyncio.run(limiter.hit("b")))  # type: ignore[arg-type]


FORKING = """
import os
from riskscale import Limit, StateError, sync
from riskscale.testing import fake_client, new_fake_server

limiter = sync.RateLimiter(sync.Hub(fake_client(new_fake_server())), Limit(1, per=1))
child = os.fork()
try:
    admitted = bool(limiter.hit("a"))
except StateError as error:
    admitted = "fork" not in str(error)
if child == 0:
    os._exit(admitted)
assert admitted and os.waitpid(child, 0)[1] == 0
"""


def test_a_hub_belongs_to_its_process() -> None:
    subprocess.run([sys.executable, "-c", FORKING], check=True, timeout=60)


@pytest.mark.server
@pytest.mark.owns_server
async def test_the_time_budget_holds(scratch_server: ServerProcess) -> None:
    """A server that does not answer costs the caller its budget and no more."""
    client = redis.asyncio.Redis.from_url(scratch_server.url)
    async with Hub(client, timeout=0.2) as hub:
        limiter = RateLimiter(hub, Limit(10, per=60))
        await limiter.hit("a")
        scratch_server.pause()
        with pytest.raises(TimeoutError):
            await limiter.hit("a")
        scratch_server.resume()
    await client.aclose()


async def test_calls_in_flight_are_bounded() -> None:
    running = most = 0

    class Slow:
        async def evalsha(self, *_: Any) -> bytes:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return b"0 0 0 0"

        eval = execute_command = evalsha

    limiter = RateLimiter(Hub(Slow(), max_in_flight=7), Limit(1, per=1), coalesce=False)
    await asyncio.gather(*(limiter.hit(str(n)) for n in range(100)))
    assert most == 7


def test_the_hub_warns_of_a_client_that_may_wait_longer(caplog: pytest.LogCaptureFixture) -> None:
    riskscale.sync.Hub(redis.Redis(socket_timeout=5), timeout=0.05)
    assert "socket_timeout" in caplog.text


def test_errors_of_scripts_are_known_by_their_first_word() -> None:
    error = translated(redis.ResponseError("RSARG ttl_us must be an integer from 1 to 2"))
    assert isinstance(error, ArgumentError) and error.argument == "ttl_us"
    assert isinstance(translated(redis.ResponseError("RSSTATE a key holds another type")), StateError)
    other = redis.ResponseError("OOM command not allowed")
    assert translated(other) is other
    assert is_noscript(redis.exceptions.NoScriptError("x")) and not is_noscript(other)


def test_no_secret_is_in_a_repr() -> None:
    client = redis.Redis.from_url("redis://user:hunter2@127.0.0.1:1/0")
    hub = riskscale.sync.Hub(client)
    lock = riskscale.sync.Lock(hub, "a", ttl=1)
    limiter = riskscale.sync.RateLimiter(hub, Limit(1, per=1))
    assert "hunter2" not in "".join(map(repr, (hub, lock, limiter)))


@pytest.mark.parametrize(
    "error",
    [
        riskscale.ArgumentError("ttl", "must be more"),
        riskscale.StateError("x"),
        riskscale.HubClosed(),
        riskscale.AcquireTimeout("job", 1.5),
        riskscale.AcquireTimeout("db", 1.5, what="bulkhead"),
        riskscale.BulkheadFull(),
        riskscale.BulkheadFull("Bulkhead: tenant 'a' has its share", name="db"),
        riskscale.LeaseLost("job", 7),
        riskscale.LeaseLost("order-42", 7, "idempotency"),
        riskscale.RateLimitExceeded("a", "1/s", 0.5),
        riskscale.StaleFence("row", 7, 9),
    ],
)
def test_errors_pickle(error: riskscale.RiskscaleError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)


async def test_closing_takes_a_waiter_out_of_the_queue(client: Any, prefix: str) -> None:
    holder, hub = Lock(Hub(client, key_prefix=prefix), "job", ttl=60), Hub(client, key_prefix=prefix)
    async with holder.hold():
        waiter = asyncio.create_task(Lock(hub, "job", ttl=60).acquire())
        while (await holder.inspect()).waiting == 0:
            await asyncio.sleep(0)
        await hub.aclose()
        assert (await holder.inspect()).waiting == 0
        with pytest.raises(HubClosed):
            await waiter


async def test_closing_waits_for_calls_under_way_and_names_itself_where_it_cannot() -> None:
    answer = asyncio.Event()

    class Slow:
        async def evalsha(self, *_: Any) -> bytes:
            await answer.wait()
            return b"0 0 0 0"

        eval = execute_command = evalsha

    hub = Hub(Slow())
    hit = asyncio.create_task(RateLimiter(hub, Limit(1, per=1)).hit("a"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(hub.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    answer.set()
    await closing
    assert hit.done() and await hit

    answer.clear()
    hub = Hub(Slow())
    task = asyncio.create_task(Lock(hub, "job", ttl=1).acquire())
    await asyncio.sleep(0)
    await hub.aclose(timeout=0)
    with pytest.raises(HubClosed):
        await task


async def test_the_budget_counts_the_wait_for_a_place_too() -> None:
    reached = 0

    class Hung:
        async def evalsha(self, *_: Any) -> None:
            nonlocal reached
            reached += 1
            await asyncio.Event().wait()

        eval = execute_command = evalsha

    limiter = RateLimiter(Hub(Hung(), timeout=0.05, max_in_flight=1), Limit(1, per=1))
    calls = [asyncio.create_task(limiter.hit(str(n))) for n in range(20)]
    done, _ = await asyncio.wait(calls)
    assert reached <= 2, "those who waited for a place began their budget only then"
    assert all(isinstance(task.exception(), TimeoutError) for task in done)


async def test_an_error_of_the_client_is_not_its_own_cause() -> None:
    class Failing:
        async def evalsha(self, *_: Any) -> None:
            raise redis.ConnectionError("gone")

        eval = execute_command = evalsha

    with pytest.raises(redis.ConnectionError) as caught:
        await RateLimiter(Hub(Failing()), Limit(1, per=1)).hit("a")
    assert caught.value.__cause__ is None


async def test_a_call_given_up_fails_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """The outcome of a call whose caller was cancelled is nobody's: no complaint by the event loop."""
    failing = asyncio.Event()

    class Failing:
        async def evalsha(self, *_: Any) -> None:
            await failing.wait()
            raise redis.ConnectionError("gone")

        eval = execute_command = evalsha

    hub = Hub(Failing())
    task = asyncio.create_task(Lock(hub, "job", ttl=1).acquire())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    failing.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await hub.aclose()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_hub_whose_closing_is_cancelled_is_closed() -> None:
    class Silent:
        async def evalsha(self, *_: Any) -> bytes:
            await asyncio.Event().wait()
            return b""

        eval = execute_command = evalsha

    hub = Hub(Silent())
    hit = asyncio.create_task(RateLimiter(hub, Limit(1, per=1)).hit("a"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(hub.aclose(timeout=60))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing, hit}, timeout=30)
    assert closing.cancelled() and hub.closed and isinstance(hit.exception(), HubClosed)
