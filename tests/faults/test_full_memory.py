"""A server whose memory is full, and that evicts nothing: what is held can be given back, nothing is half-written."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from riskscale import LeaseLost, Limit
from riskscale.lock import calls
from riskscale.lock.calls import LockKeys
from riskscale.sync import Guard, Hub, Lock, PartitionGroup, RateLimiter, Semaphore
from riskscale.testing import ServerProcess


def dump(client: redis.Redis) -> dict[bytes, Any]:
    return {key: client.dump(key) for key in client.scan_iter()}


@pytest.mark.owns_server
def test_a_full_server(scratch_server: ServerProcess) -> None:
    with redis.Redis.from_url(scratch_server.url) as client, Hub(client) as hub:
        lock, limiter = Lock(hub, "job", ttl=60), RateLimiter(hub, Limit(10, per=60))
        lease = lock.acquire()
        assert lease is not None and limiter.hit("a")
        paced = RateLimiter(hub, Limit(10, per=60, algorithm="gcra"))
        reservation = paced.reserve("a", 4)
        semaphore = Semaphore(hub, "gpu", limit=2, ttl=60)
        share = semaphore.acquire(weight=2)
        taken, alone = Lock(hub, "stuck", ttl=60).acquire(), Lock(hub, "alone", ttl=60).acquire()
        stuck = LockKeys.of(hub.key("stuck"))
        next_one = calls.acquire(stuck, "next", 60_000_000, "")  # it polls
        assert taken is not None and alone is not None and not hub.run(next_one).acquired
        assert share is not None
        guard = Guard(hub, "row")
        guard.write("old", fence=7, ttl=60)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        before = dump(client)
        for refused in (
            lambda: limiter.hit("a"),
            lambda: limiter.hit("b"),
            lambda: paced.reserve("a"),
            lambda: paced.reserve("b"),
            lambda: Lock(hub, "other", ttl=60).acquire(timeout=0),
            lambda: Semaphore(hub, "other", limit=2, ttl=60).acquire(timeout=0),
            lambda: guard.write("the same holder's", fence=7),
            lambda: guard.write("a newer holder's", fence=8),
            lambda: Guard(hub, "other").write("new", fence=1),
        ):
            with pytest.raises(redis.ResponseError, match=r"OOM|maxmemory"):
                refused()
        assert dump(client) == before
        assert reservation.settle(1) == 3 and paced.peek("a").remaining == 9
        for held in (lease, share):
            held.renew(120)
            assert held.remaining() > 60
            held.renew(30)
            held.release()
        assert semaphore.inspect().held == 0
        for keys, held in ((stuck, taken), (LockKeys.of(hub.key("alone")), alone)):
            assert hub.run(calls.force_release(keys, fence=held.fence)).released
            with pytest.raises(LeaseLost):
                held.release()
        assert hub.run(next_one).acquired and not Lock(hub, "alone", ttl=60).locked()
        assert not lock.locked()


@pytest.mark.owns_server
def test_partitions_are_kept_and_handed_over_on_a_full_server(scratch_server: ServerProcess) -> None:
    with redis.Redis.from_url(scratch_server.url) as client, Hub(client) as hub:
        one, two = (PartitionGroup(hub, "g", 8, 60) for _ in range(2))
        with one:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)
            with two:
                while not len(one.partitions) == len(two.partitions) == 4:
                    time.sleep(0.001)
            while len(one.partitions) < 8:
                time.sleep(0.001)
