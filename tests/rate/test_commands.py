"""What a decision costs the server: the commands that the scripts call, as the server itself counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from riskscale._core.call import line
from riskscale._core.scripts import script
from riskscale.rate.limit import ALGORITHMS, Limit
from riskscale.sync import Hub, RateLimiter
from riskscale.testing import ServerProcess

pytestmark = pytest.mark.owns_server

READS = {"gcra": "get", "sliding_log": "getrange", "sliding_window": "get", "fixed_window": "get"}
ADMITTED = {
    "gcra": {"time": 1, "get": 1, "set": 1},
    "sliding_log": {"time": 1, "getrange": 1, "setrange": 2},
    "sliding_window": {"time": 1, "get": 1, "set": 1},
    "fixed_window": {"time": 1, "get": 1, "set": 1},
}


@pytest.fixture
def server_client(scratch_server: ServerProcess) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(scratch_server.url) as client:
        yield client


def commands(client: redis.Redis, act: Callable[[], object]) -> dict[str, int]:
    """How often each command ran inside of scripts."""
    client.config_resetstat()
    act()
    stats: Any = client.info("commandstats")
    calls = Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})
    return {name: calls[name] for name in calls if not name.startswith(("config", "info", "eval"))}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_plain_hit_and_a_refusal_take_the_fewest_commands(server_client: redis.Redis, algorithm: Any) -> None:
    limiter = RateLimiter(Hub(server_client), Limit(40, per=3600, algorithm=algorithm))
    read = {"time": 1, READS[algorithm]: 1}
    limiter.hit("a", 35)  # a log has grown as far as it goes
    for _ in range(5):
        assert commands(server_client, lambda: limiter.hit("a")) == ADMITTED[algorithm]
    assert commands(server_client, lambda: limiter.peek("a")) == read
    assert set(commands(server_client, lambda: limiter.hit("a"))) <= {*read, "getrange"}, "a refusal wrote"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_batch_asks_for_the_time_once(server_client: redis.Redis, algorithm: Any) -> None:
    limiter = RateLimiter(Hub(server_client), Limit(40, per=3600, algorithm=algorithm))
    tenants = [f"t{number}" for number in range(100)]
    limiter.hit_many([(tenant, 35) for tenant in tenants])
    expected = {name: calls if name == "time" else 100 * calls for name, calls in ADMITTED[algorithm].items()}
    assert commands(server_client, lambda: limiter.hit_many(tenants)) == expected


def test_a_log_lives_as_long_as_its_newest_entry_counts(server_client: redis.Redis) -> None:
    """Its expiry is moved only now and then: asked after each of many hits, in windows that grow."""
    log, key = script("rate.sliding_log").text, "rs1:{log}"
    for window_us in (20_000, 5_000_000, 5_000_000, 3_600_000_000):
        for _ in range(20):
            at_us, refused, *_ = line(server_client.eval(log, 1, key, 200, window_us, 1, 1, ""))
            left_ms, (seconds, us) = server_client.pipeline().pttl(key).time().execute()
            asked_us = seconds * 1_000_000 + us
            assert not refused
            assert asked_us + 1000 * (left_ms + 1) >= at_us + window_us or (
                left_ms < 0 and asked_us > at_us + window_us
            )
            assert left_ms <= window_us / 1000 * 9 / 8 + 1
