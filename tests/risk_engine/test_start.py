"""A replica that starts while the server is gone."""

from __future__ import annotations

import asyncio

from risk_engine.settings import Settings
from risk_engine.wiring import running

from riskscale.testing import ServerProcess
from tests.risk_engine.parts import event


async def test_it_is_live_and_not_ready_and_takes_part_when_the_server_is_there(scratch_server: ServerProcess) -> None:
    scratch_server.kill()
    async with running(Settings(redis_url=scratch_server.url, partitions=2)) as engine:
        assert (await engine.health.system_health("live")).http_status == 200
        assert (await engine.health.system_health("ready")).http_status == 503
        scratch_server.start()
        async with asyncio.timeout(30):
            while engine.consumer.partitions != [0, 1]:
                await asyncio.sleep(0.01)
        assert (await engine.service.create_event("acme", event())).body
    assert engine.consumer.partitions == []


async def test_it_ends_while_it_still_waits_for_the_server(scratch_server: ServerProcess) -> None:
    scratch_server.kill()
    before = asyncio.all_tasks()
    async with asyncio.timeout(30), running(Settings(redis_url=scratch_server.url)):
        pass
    assert asyncio.all_tasks() == before
