"""One key among OS processes on one real server: who does the work, who takes over, and what all of them get."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from riskscale import Claim, Hub, IdempotencyGuard, LeaseLost, Replay
from riskscale.testing import ServerProcess
from tests.faults.fleet import events, replicas, url_of

pytestmark = pytest.mark.server
WORKER = "tests.idempotency._worker"
NEVER = 10**6


def test_fifty_callers_of_five_processes(backend: Any, prefix: str) -> None:
    """The work ends when the other 49 wait for it."""
    with replicas(5, url_of(backend), prefix, 30, 10, 49, worker=WORKER) as processes:
        history = events(processes)
    (began,) = (each for each in history if each["event"] == "began")
    got = [each["response"] for each in history if each["event"] == "got"]
    assert got == [f"receipt of fence {began['fence']}"] * 50 and began["unknown"] == 0


def test_the_worker_is_killed_in_the_middle(backend: Any, prefix: str) -> None:
    url, ttl = url_of(backend), 1.5
    with replicas(1, url, prefix, ttl, 1, NEVER, worker=WORKER) as (victim,):
        assert victim.stdout
        first = json.loads(victim.stdout.readline())
        with replicas(3, url, prefix, 30, 4, 0, worker=WORKER) as heirs:
            victim.send_signal(signal.SIGKILL)
            assert victim.wait() == -signal.SIGKILL
            history = events(heirs)
    (began,) = (each for each in history if each["event"] == "began")
    got = [each["response"] for each in history if each["event"] == "got"]
    assert first["unknown"] == 0 and began["unknown"] == 1, "one takeover, marked"
    assert began["at"] >= first["at"] + ttl and began["fence"] > first["fence"]
    assert got == [f"receipt of fence {began['fence']}"] * 12


def test_a_worker_that_slept_past_its_lease_is_refused(backend: Any, prefix: str) -> None:
    url = url_of(backend)
    with replicas(1, url, prefix, 1.5, 1, 1, worker=WORKER) as (sleeper,):
        assert sleeper.stdout
        first = json.loads(sleeper.stdout.readline())
        sleeper.send_signal(signal.SIGSTOP)
        os.waitpid(sleeper.pid, os.WUNTRACED)
        with replicas(1, url, prefix, 30, 3, 0, worker=WORKER) as heirs:
            history = events(heirs)
        sleeper.send_signal(signal.SIGCONT)
        assert events([sleeper]) == [{"event": "refused"}]
    (began,) = (each for each in history if each["event"] == "began")
    got = [each["response"] for each in history if each["event"] == "got"]
    assert began["unknown"] == 1 and began["fence"] > first["fence"]
    assert got == [f"receipt of fence {began['fence']}"] * 3


async def test_a_server_that_forgets(scratch_server: ServerProcess) -> None:
    """Killed without persistence: what was done may be done again, unmarked; work under way is not stopped."""
    retry = Retry(NoBackoff(), 5)  # what was connected before
    async with redis.asyncio.Redis.from_url(scratch_server.url, retry=retry) as client, Hub(client) as hub:
        guard = IdempotencyGuard(hub, "pay")
        await guard.run("t", "done", "", lambda _: "1")
        slow, late = await guard.begin("t", "slow", ""), await guard.begin("t", "late", "")
        assert isinstance(slow, Claim) and isinstance(late, Claim)
        scratch_server.kill()
        scratch_server.start()
        assert await guard.run("t", "done", "", lambda claim: str(claim.unknown)) == b"0"
        await slow.complete("its result is kept, for nobody has begun anew")
        seen = await guard.begin("t", "slow", "")
        assert isinstance(seen, Replay) and seen.response
        assert await guard.run("t", "late", "", lambda _: "second") == b"second"
        with pytest.raises(LeaseLost):
            await late.complete("first")


async def test_a_server_whose_memory_is_full(scratch_server: ServerProcess) -> None:
    """Nothing begins, and what is under way ends: its result is kept."""
    async with redis.asyncio.Redis.from_url(scratch_server.url) as client, Hub(client) as hub:
        guard = IdempotencyGuard(hub, "pay", auto_renew=False)
        done, left, anew = [await guard.begin("t", key, "") for key in ("done", "left", "anew")]
        assert isinstance(done, Claim) and isinstance(left, Claim) and isinstance(anew, Claim)
        await client.config_set("maxmemory", 1)
        with pytest.raises(redis.ResponseError, match=r"OOM|memory"):
            await guard.begin("t", "other", "")
        await done.renew()
        await done.complete("x" * 1000)
        await left.abandon(unknown=True)
        await anew.abandon()
        await client.config_set("maxmemory", 0)
        assert await guard.run("t", "done", "", lambda _: "") == b"x" * 1000
        for key, unknown in (("left", 1), ("anew", 0), ("other", 0)):
            claim = await guard.begin("t", key, "")
            assert isinstance(claim, Claim) and claim.unknown == unknown
