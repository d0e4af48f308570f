"""The storage of the limits package, as its strategies call it."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
import time
from typing import Any

import limits
import limits.aio.strategies
import limits.strategies
import pytest
import redis
import valkey
from limits.errors import StorageError
from limits.storage import storage_from_string

import riskscale.sync
from riskscale import ArgumentError, Limit, StateError
from riskscale.integrations.limits import AsyncRiskscaleStorage, RiskscaleStorage
from riskscale.integrations.limits.base import Item
from riskscale.testing import ServerProcess

STRATEGIES = list(limits.strategies.STRATEGIES)
TEN = limits.parse("10/minute")
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


@every_strategy
def test_it_counts_as_limits_documents(make: Any, strategy: str) -> None:
    """Against a counter; nothing comes back within the test. What is refused is charged by no strategy."""
    limiter, chance, used = make(strategy), random.Random(strategy), {"a": 0, "b": 0}
    assert limiter.get_window_stats(TEN, "a").remaining == 10
    for _ in range(60):
        key, cost = chance.choice("ab"), chance.choice([1, 1, 2, 3, 7, 11])
        match chance.choice(["hit", "hit", "hit", "test", "stats", "clear"]):
            case "hit":
                fits = used[key] + cost <= 10
                assert limiter.hit(TEN, key, cost=cost) is fits
                used[key] += cost * fits
            case "test":
                assert limiter.test(TEN, key, cost=cost) is (used[key] + cost <= 10)
            case "stats":
                stats = limiter.get_window_stats(TEN, key)
                assert stats.remaining == 10 - used[key]
                assert not used[key] or 0 < stats.reset_time - time.time() <= 60
            case "clear":
                limiter.clear(TEN, key)
                used[key] = 0
    assert limiter.storage.check() is True


@pytest.mark.server
@every_strategy
def test_units_come_back_when_the_statistics_say(make: Any, strategy: str) -> None:
    limiter, item = make(strategy), limits.parse("2/second")
    assert limiter.hit(item, "a") and limiter.hit(item, "a")
    assert not limiter.hit(item, "a")
    asked = time.time()
    reset = limiter.get_window_stats(item, "a").reset_time
    took = time.time() - asked
    while not limiter.hit(item, "a"):
        pass
    assert time.time() >= reset - took, "it passed before it was said to"
    assert reset > asked and limiter.get_window_stats(item, "a").remaining < 2


@every_strategy
def test_a_cost_of_nothing_and_a_limit_of_nothing(make: Any, strategy: str) -> None:
    """Flask-Limiter's ``cost=`` may give 0, and a limit of 0 closes a route."""
    limiter, none = make(strategy), limits.parse("0/minute")
    assert limiter.hit(TEN, "a", cost=0) and limiter.get_window_stats(TEN, "a").remaining == 10
    assert not limiter.hit(none, "a") and not limiter.test(none, "a")
    assert limiter.get_window_stats(none, "a").remaining == 0
    for cost in (-1, 1.5, "1", True):
        with pytest.raises(ArgumentError, match="cost"):
            limiter.hit(TEN, "a", cost=cost)
    assert limiter.get_window_stats(TEN, "a").remaining == 10


@every_strategy
def test_a_changed_limit_keeps_its_state_if_told_to(make: Any, strategy: str) -> None:
    more, less, hourly = limits.parse("12/minute"), limits.parse("3/minute"), limits.parse("10/hour")
    apart = make(strategy)
    assert apart.hit(TEN, "a", cost=8) and apart.get_window_stats(more, "a").remaining == 12
    kept = make(strategy, keep_state=True)
    assert kept.hit(TEN, "b", cost=8)
    assert kept.get_window_stats(more, "b").remaining == 4
    assert not kept.hit(less, "b") and kept.get_window_stats(less, "b").remaining == 0
    assert kept.hit(more, "b", cost=4) and not kept.hit(more, "b")
    assert kept.get_window_stats(hourly, "b").remaining == 10, "another period is another limit"
    kept.clear(less, "b")
    assert kept.get_window_stats(TEN, "b").remaining == 10


def test_a_limit_changes_between_two_calls_of_the_storage(make: Any) -> None:
    storage = make("moving-window").storage
    for acquire in (storage.acquire_entry, storage.acquire_sliding_window_entry):
        assert acquire("a", 10, 60, 4) and not acquire("a", 3, 60) and acquire("a", 5, 60) and not acquire("a", 5, 60)
    assert storage.get_moving_window("a", 3, 60)[1] == 3
    assert storage.get_moving_window("a", 10, 60)[1] == 5
    assert storage.get_sliding_window("a", 60)[2] == 5


@every_strategy
def test_a_log_that_would_be_too_large_is_a_window(make: Any, strategy: str) -> None:
    limiter, item = make(strategy), limits.parse("20000000/day")
    assert limiter.hit(item, "a", cost=19_999_999) and not limiter.hit(item, "a", cost=2)
    assert limiter.hit(item, "a") and limiter.get_window_stats(item, "a").remaining == 0


def test_keys_that_no_limit_made_are_plain_counters(make: Any) -> None:
    storage = make("fixed-window", admin=True).storage
    assert [storage.incr("job", 60), storage.incr("job", 60, 5), storage.get("job")] == [1, 6, 6]
    assert 55 < storage.get_expiry("job") - time.time() <= 60
    assert storage.get("none") == 0 and abs(storage.get_expiry("none") - time.time()) < 1
    storage.clear("job")
    assert storage.get("job") == 0


@pytest.mark.parametrize(
    ("key", "most", "seconds"),
    [
        ("L/a/10/1/minute", 10, 60), ("L/a/10/2/hour", 10, 7200), ("L/x/y/0/1/second", 0, 1), ("/1/1/day", 1, 86400),
        ("L/a\r\n/10/1/minute", 10, 60),
        ("L/a/10/1/fortnight", 10**15, None), ("10/1/minute", 10**15, None), ("L/a/-1/1/minute", 10**15, None),
        ("L/a/\u0661/1/minute", 10**15, None), (f"L/a/{10**400}/1/minute", 10**15, None), ("", 10**15, None),
    ],
)  # fmt: skip
def test_what_a_key_says(key: str, most: int, seconds: int | None) -> None:
    assert Item.of(key, False) == (key, most, seconds)


def test_the_count_alone_leaves_the_key() -> None:
    assert Item.of("L/a/10/2/minute", True).key == "L/a/*/2/minute" == Item.of("L/a/99/2/minute", True).key


@pytest.mark.parametrize("who", ["a\r\nb", "\x00", "}{:%", "\u00e9\u4e2d\U0001f512", "x" * 100_000, "1/1/minute", " "])
def test_hostile_identifiers_count_apart(make: Any, who: str) -> None:
    limiter, one = make("moving-window"), limits.parse("1/minute")
    assert [limiter.hit(one, who) for _ in range(2)] == [True, False]
    assert limiter.hit(one, who + "y") and limiter.hit(one, "y" + who)


def test_what_utf8_cannot_say_is_refused(make: Any) -> None:
    with pytest.raises(ArgumentError, match="key"):
        make("fixed-window").hit(TEN, "\ud800")


def test_reset_forgets_its_own_and_touches_nothing_else(
    make: Any, raw_client: Any, sync_hub: riskscale.sync.Hub, prefix: str
) -> None:
    other = riskscale.sync.RateLimiter(sync_hub, Limit(5, per=60), name="limits-storage-2")
    assert other.hit("a") and other.hit("a:rate:limits-storage:item:b")
    foreign = f"{prefix}foreign:{{x}}:rate:limits-storage:item:y"
    raw_client.set(foreign, "theirs", ex=60)
    limiter = make("fixed-window", admin=True)
    for number in range(598):
        limiter.hit(TEN, f"t{number}")
    assert make("moving-window").hit(TEN, "t7") and make("sliding-window-counter").hit(TEN, "t7")
    poisoned = f"{prefix}rs1:{{bad}}:rate:limits-storage:item:sliding_log"
    raw_client.hset(poisoned, "a", "b")
    raw_client.expire(poisoned, 60)
    assert limiter.storage.reset() == 600 and limiter.storage.reset() == 0
    assert raw_client.get(foreign) == b"theirs" and raw_client.hgetall(poisoned) == {b"a": b"b"}
    assert other.peek("a").remaining == 4 and other.peek("a:rate:limits-storage:item:b").remaining == 4
    assert limiter.get_window_stats(TEN, "t7").remaining == 10


def test_a_poisoned_key_is_an_error_of_the_storage(make: Any, raw_client: Any, prefix: str) -> None:
    poisoned = f"{prefix}rs1:{{LIMITER/bad/10/1/minute}}:rate:limits-storage:item:sliding_log"
    raw_client.hset(poisoned, "a", "b")
    raw_client.expire(poisoned, 60)
    with pytest.raises(StateError):
        make("moving-window").hit(TEN, "bad")
    with pytest.raises(StorageError):
        make("moving-window", wrap_exceptions=True).hit(TEN, "bad")
    assert make("moving-window").hit(TEN, "good")


async def test_hits_at_one_time_travel_together(client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    evalsha = client.evalsha

    async def counting(sha: str, keys: int, *words: Any) -> Any:
        sent.append(keys)
        return await evalsha(sha, keys, *words)

    monkeypatch.setattr(client, "evalsha", counting)
    limiter = limits.aio.strategies.MovingWindowRateLimiter(AsyncRiskscaleStorage(client=client, key_prefix=prefix))
    assert sum(await asyncio.gather(*(limiter.hit(TEN, "a") for _ in range(60)))) == 10
    assert sent == [30, 30]


# On a server of its own


@pytest.fixture(scope="module")
def server() -> Any:
    with ServerProcess(args=("--requirepass", "s3cr:et/#")) as server:
        yield server


SECRET = "s3cr%3Aet%2F%23"


def uri(server: ServerProcess, scheme: str = "riskscale+redis", db: int = 3) -> str:
    return f"{scheme}://:{SECRET}@127.0.0.1:{server.port}/{db}"


def test_the_uri_has_a_password_a_database_and_options(server: ServerProcess) -> None:
    storage: Any = storage_from_string(uri(server) + "?socket_timeout=2", health_check_interval=7)
    try:
        assert isinstance(storage, RiskscaleStorage) and storage.check()
        kwargs = storage._connection.connection_pool.connection_kwargs
        assert (kwargs["db"], kwargs["socket_timeout"], kwargs["health_check_interval"]) == (3, 2.0, 7)
        assert limits.strategies.FixedWindowRateLimiter(storage).hit(TEN, "a")
        assert storage._connection.dbsize() == 1
    finally:
        storage._connection.close()


async def test_the_asyncio_uri(server: ServerProcess) -> None:
    storage: Any = storage_from_string(uri(server, "async+riskscale+redis", 4), key_prefix="app:")
    assert isinstance(storage, AsyncRiskscaleStorage) and await storage.check()
    limiter = limits.aio.strategies.FixedWindowRateLimiter(storage)
    assert await limiter.hit(TEN, "a")
    connection = storage._limiters().hub.client
    assert [key async for key in connection.scan_iter()] == [
        b"app:rs1:{LIMITER/a/10/1/minute}:rate:limits-storage:item:fixed_window"
    ]
    await connection.aclose()


def test_other_schemes_and_clients_of_your_own(server: ServerProcess) -> None:
    tls: Any = storage_from_string("riskscale+rediss://127.0.0.1:1")
    assert tls._connection.connection_pool.connection_class is redis.SSLConnection
    unix: Any = storage_from_string(f"riskscale+redis+unix://:{SECRET}@{server.socket_path}?db=5")
    pool = redis.ConnectionPool.from_url(uri(server, "redis"))
    pooled: Any = storage_from_string("riskscale+redis://", connection_pool=pool)
    for storage in (unix, pooled):
        assert storage.check()
        storage._connection.close()
    pool.disconnect()


def test_passwords_are_said_to_nobody(server: ServerProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    storage: Any = storage_from_string(f"riskscale+redis://:wr0ng%2Fpass@127.0.0.1:{server.port}", wrap_exceptions=True)
    said = [repr(storage), repr(storage._limiters().hub), str(storage.check())]
    with pytest.raises(StorageError) as refused:
        storage.get("a")
    said += [str(refused.value), repr(refused.value.__cause__)]
    for bad in ("riskscale+redis://:wr0ng/pass@h:1", "riskscale+redis://:x@h:wr0ng", "riskscale+redis://:wr0ng@[h"):
        for kind in (RiskscaleStorage, AsyncRiskscaleStorage):
            with pytest.raises(ArgumentError, match="uri") as malformed:
                kind(bad)
            assert malformed.value.__cause__ is None
            said += [str(malformed.value), repr(malformed.value.__context__)]
    storage._connection.close()
    assert "wr0ng" not in " ".join([*said, caplog.text])


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("uri", {}), ("uri", {"uri": "redis://localhost"}), ("uri", {"uri": "riskscale+memory://"}),
        ("key_prefix", {"uri": "riskscale+redis://localhost", "key_prefix": "{"}),
        ("client", {"client": object()}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [RiskscaleStorage, AsyncRiskscaleStorage])
def test_bad_arguments(kind: Any, argument: str, options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        kind(**options)
    assert caught.value.argument == argument


def test_a_server_that_forks_after_it_loaded_the_application(server: ServerProcess) -> None:
    """As gunicorn --preload and uWSGI do: the parent has used the storage, and parent and child go on."""
    code = """if True:
        import os, sys, limits, limits.strategies, riskscale.integrations.limits
        from limits.storage import storage_from_string
        limiter = limits.strategies.MovingWindowRateLimiter(storage_from_string(sys.argv[1]))
        item = limits.parse("3/minute")
        assert limiter.hit(item, "forked")
        child = os.fork()
        if not child:
            os._exit(0 if limiter.hit(item, "forked") else 1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), limiter.hit(item, "forked"), limiter.hit(item, "forked"))
    """
    done = subprocess.run(
        [sys.executable, "-c", code, uri(server)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "0 True False\n", done.stderr


def test_event_loops_that_come_and_go(server: ServerProcess) -> None:
    """As under a test client that runs one a request."""
    storage: Any = storage_from_string(uri(server, "async+riskscale+redis"))
    limiter = limits.aio.strategies.MovingWindowRateLimiter(storage)

    async def hit() -> bool:
        try:
            return await limiter.hit(limits.parse("3/minute"), "loops")
        finally:
            await storage._limiters().hub.client.aclose()

    assert [asyncio.run(hit()) for _ in range(4)] == [True, True, True, False]
    assert len(storage._of_loops) == 1, "the loops that are over are forgotten"


@pytest.mark.parametrize("theirs", [False, True], ids=["redis-py", "valkey-py"])
def test_a_server_that_is_gone(scratch_server: ServerProcess, theirs: bool) -> None:
    client = valkey.Valkey(port=scratch_server.port) if theirs else None
    storage: Any = storage_from_string(f"riskscale+{scratch_server.url}", wrap_exceptions=True, client=client)
    limiter = limits.strategies.FixedWindowRateLimiter(storage)
    assert limiter.hit(TEN, "a")
    scratch_server.kill()
    assert storage.check() is False
    with pytest.raises(StorageError):
        limiter.hit(TEN, "a")
    scratch_server.start()
    assert storage.check() and limiter.hit(TEN, "a")
    storage._connection.close()
