"""The fleet knows how all replicas are together, and one of them decides for all."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from risk_engine.settings import Settings
from risk_engine.wiring import running

from riskscale import ScalingController, StateError
from tests.risk_engine.parts import FlakyModel, event


async def test_the_fleet_is_observed_and_its_leader_orders_more_replicas(
    service_client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise RuntimeError("no score")

    chosen = Settings(
        key_prefix=prefix, audit="redis", scale_to=5, failure_threshold=100, consume=False, report_seconds=0.1
    )
    with caplog.at_level(logging.WARNING, "risk_engine"):
        async with (
            running(chosen, client=service_client, model=FlakyModel(fails)) as one,
            running(chosen, client=service_client) as two,
        ):
            for number in range(4):
                with pytest.raises(Exception, match="RuntimeError"):
                    await one.service.create_event("acme", event(f"e-{number}"))
                await two.service.create_event("acme", event(f"f-{number}"))
            async with asyncio.timeout(60):
                while (snapshot := await two.fleet.snapshot()).current_replicas != 2 or snapshot.failure_rate != 0.5:
                    await asyncio.sleep(0.01)
                while not caplog.records:
                    await asyncio.sleep(0.01)
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["SCALE_UP"]


async def test_a_scaling_that_ends_by_an_error_says_so_at_once_and_the_service_goes_on(
    service_client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = f"{prefix}rs1:{{risk-engine}}:scaling-memory"
    await service_client.lpush(memory, "no memory of a controller")
    await service_client.expire(memory, 100)
    chosen = Settings(key_prefix=prefix, audit="redis", scale_to=5, consume=False, report_seconds=0.1)
    async with running(chosen, client=service_client) as engine, asyncio.timeout(60):
        while "nobody here scales the fleet any more" not in caplog.text:
            await asyncio.sleep(0.01)
        assert (await engine.service.create_event("acme", event())).body
    (told,) = [record for record in caplog.records if record.name == "risk_engine"]
    assert told.levelno == logging.ERROR and told.exc_info is not None and told.exc_info[0] is StateError


async def test_a_scaling_that_fails_at_its_end_says_so(
    service_client: Any, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def run(_: ScalingController) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("did not resign")

    monkeypatch.setattr(ScalingController, "run", run)
    chosen = Settings(key_prefix=prefix, audit="redis", scale_to=5, consume=False)
    async with running(chosen, client=service_client):
        await began.wait()
    (told,) = caplog.records
    assert (told.name, told.levelno) == ("risk_engine", logging.ERROR)
    assert "did not resign" in caplog.text
