"""Commands that travel together are each their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
import redis.asyncio
from risk_engine.gathering import GatheringRedis
from risk_engine.settings import Settings
from risk_engine.wiring import connect

from riskscale.testing import ServerProcess


@pytest.fixture
async def gathering(scratch_server: ServerProcess) -> AsyncIterator[GatheringRedis]:
    async with connect(Settings(redis_url=scratch_server.url)) as client:
        yield client


async def test_each_gets_its_own_answer_in_few_round_trips(
    gathering: GatheringRedis, scratch_server: ServerProcess
) -> None:
    await gathering.set("text", "word")
    before = await reads(scratch_server)
    assert await asyncio.gather(*(gathering.set(f"k-{number}", number) for number in range(300))) == [True] * 300
    answers = await asyncio.gather(
        *(gathering.incr("text") for _ in range(5)),
        *(gathering.get(f"k-{number}") for number in range(300)),
        return_exceptions=True,
    )
    assert [type(each) for each in answers[:5]] == [redis.ResponseError] * 5
    assert answers[5:] == [str(number).encode() for number in range(300)]
    assert await reads(scratch_server) - before < 60


async def reads(server: ServerProcess) -> int:
    async with redis.asyncio.from_url(server.url) as client:
        return int((await client.info("stats"))["total_reads_processed"])


async def test_who_is_cancelled_takes_nobody_along(gathering: GatheringRedis) -> None:
    tasks = [asyncio.create_task(gathering.incr("n")) for _ in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in answers[::2])
    assert len({each for each in answers[1::2] if isinstance(each, int)}) == 50
    assert await gathering.ping()


async def test_an_outage_is_told_to_all_who_wait_and_then_it_goes_on(
    gathering: GatheringRedis, scratch_server: ServerProcess
) -> None:
    await gathering.ping()
    scratch_server.kill()
    answers = await asyncio.gather(*(gathering.incr("n") for _ in range(100)), return_exceptions=True)
    assert all(isinstance(each, redis.ConnectionError) for each in answers)
    scratch_server.start()
    assert sorted(await asyncio.gather(*(gathering.incr("n") for _ in range(100)))) == list(range(1, 101))


async def test_what_may_have_been_done_is_not_sent_again() -> None:
    """A server that hangs up after it has read a command."""
    heard: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            heard.append(data)
            if b"XADD" in data:
                break
            writer.write(b"+PONG\r\n" if b"PING" in data else b"+OK\r\n" * data.count(b"*"))
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(Settings(redis_url=f"redis://127.0.0.1:{port}?protocol=2")) as client:
            with pytest.raises(redis.ConnectionError):
                await client.xadd("stream", {"a": "b"})
    assert sum(data.count(b"XADD") for data in heard) == 1
