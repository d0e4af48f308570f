"""A failure before the send, after it, or after the reply, at each call: the work is never done twice unmarked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from riskscale import Claim, Hub, IdempotencyGuard, InProgress, Replay
from riskscale.testing import VirtualClock
from tests.idempotency.conftest import PATIENCE, Work
from tests.lease.test_unknown_outcome import POINTS, Failing

CALL = "tenant-7", "key-1", b"pay 10 to bob"


@pytest.fixture
async def failing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Failing:
    await hub.preload()
    return Failing(hub, monkeypatch)


async def seen(guard: IdempotencyGuard) -> Any:
    """What there is, as soon as what runs in the background is done."""

    async def look() -> Any:
        while isinstance(found := await guard.begin(*CALL), InProgress):
            await asyncio.sleep(0.001)
        return found

    return await asyncio.wait_for(look(), PATIENCE)


@pytest.mark.parametrize("point", POINTS)
async def test_beginning(guard: IdempotencyGuard, failing: Failing, point: str) -> None:
    task = asyncio.create_task(guard.begin(*CALL))
    failing.next(1, point, task)
    await asyncio.wait({task})
    assert task.cancelled() or isinstance(task.exception(), redis.RedisError)
    claim = await seen(guard)
    assert isinstance(claim, Claim) and claim.unknown == 0, "it had not begun, and everybody knows"


@pytest.mark.parametrize("point", POINTS)
async def test_completing(guard: IdempotencyGuard, failing: Failing, point: str) -> None:
    claim = await guard.begin(*CALL)
    assert isinstance(claim, Claim)
    task = asyncio.create_task(claim.complete("done"))
    failing.next(1, point, task)
    await asyncio.wait({task})
    assert task.cancelled() or task.result() is None
    found = await seen(guard)
    assert isinstance(found, Replay) and found.response == b"done"


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_running(guard: IdempotencyGuard, failing: Failing, point: str, at: int) -> None:
    work = Work()
    task = asyncio.create_task(guard.run(*CALL, work))
    failing.next(at, point, task)
    await asyncio.wait({task})
    assert work.done == at - 1
    if at == 2 and not task.cancelled():
        assert task.result() == b"receipt \xff 1"
    assert isinstance(await seen(guard), Claim if at == 1 else Replay)
    assert work.done == at - 1


@pytest.mark.parametrize("point", ["before", "after"])
async def test_done_and_the_server_is_gone(timed: Any, clock: VirtualClock, monkeypatch: Any, point: str) -> None:
    """The next one takes over when the lease has ended, and hears of it; or the result had arrived."""
    guard, work, gone = timed(), Work(), True
    await guard._hub.preload()
    real = guard._hub.client.evalsha

    async def evalsha(*args: Any) -> Any:
        if work.done != 1 or not gone:
            return await real(*args)
        if point == "after":
            await real(*args)
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(guard._hub.client, "evalsha", evalsha)
    with pytest.raises(redis.ConnectionError):
        await guard.run(*CALL, work)
    gone = False
    clock.advance(30)
    found = await guard.begin(*CALL)
    if point == "before":
        assert isinstance(found, Claim) and found.unknown == 1
    else:
        assert isinstance(found, Replay) and found.response == b"receipt \xff 1"
