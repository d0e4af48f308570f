"""The results reach whoever reads them: each partition by one replica, handed over whole, nothing lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from risk_engine.consumer import Consumer
from risk_engine.events import Assessment
from risk_engine.keys import Keys
from risk_engine.settings import Settings
from risk_engine.wiring import running

from tests.risk_engine.parts import Counted, event


class Recorder:
    """Remembers what it was told, and fails as often as ``failures`` says."""

    def __init__(self, failures: int = 0) -> None:
        self.handled = Counter[tuple[str, str]]()
        self.failures = failures

    async def handle(self, assessment: Assessment, *, redelivery: bool) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the handler is in trouble")
        self.handled[assessment.tenant_id, assessment.event_id] += 1


def settings(prefix: str, **changes: Any) -> Settings:
    return Settings(key_prefix=prefix, audit="redis", partitions=4, rate_limit="100000/second", **changes)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_replica_that_ends_hands_its_partitions_over_and_every_result_is_handled(
    service_client: Any, prefix: str
) -> None:
    everything = {(f"tenant-{number % 7}", f"e-{number}") for number in range(60)}
    one, two = Recorder(), Recorder()
    async with running(settings(prefix), client=service_client, handler=two) as stays:
        async with running(settings(prefix), client=service_client, handler=one) as ends:
            await until(lambda: len(stays.consumer.partitions) == len(ends.consumer.partitions) == 2)
            for tenant, event_id in sorted(everything)[:30]:
                await ends.service.create_event(tenant, event(event_id))
        await until(lambda: len(stays.consumer.partitions) == 4)
        for tenant, event_id in sorted(everything)[30:]:
            await stays.service.create_event(tenant, event(event_id))
        await until(lambda: set(one.handled) | set(two.handled) == everything)
    assert one.handled
    assert max((one.handled + two.handled).values()) == 1, "nobody died: nothing was handled twice"


async def test_a_handler_in_trouble_gets_the_result_again(service_client: Any, prefix: str) -> None:
    recorder = Recorder(failures=2)
    async with running(settings(prefix), client=service_client, handler=recorder) as engine:
        await engine.service.create_event("acme", event())
        await until(lambda: recorder.handled == {("acme", "e-1"): 1})


class Allergic(Recorder):
    """Raises each time that it is told of ``e-1``, as long as ``trouble`` lasts."""

    def __init__(self, error: Exception, trouble: int) -> None:
        super().__init__()
        self.error, self.trouble = error, trouble

    async def handle(self, assessment: Assessment, *, redelivery: bool) -> None:
        if assessment.event_id == "e-1" and self.trouble:
            self.trouble -= 1
            raise self.error
        await super().handle(assessment, redelivery=redelivery)


@pytest.mark.parametrize("error", [RuntimeError("no"), redis.ResponseError("WRONGTYPE")])
async def test_a_result_that_is_never_handled_is_put_aside_and_the_next_ones_follow(
    service_client: Any,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    monkeypatch.setattr("risk_engine.consumer.PAUSE", 0.005)
    recorder, chosen = Allergic(error, 10**6), settings(prefix, handle_attempts=3)
    async with running(chosen, client=service_client, handler=recorder) as engine:
        for number in range(3):
            await engine.service.create_event("acme", event(f"e-{number}"))
        await until(lambda: recorder.handled == {("acme", "e-0"): 1, ("acme", "e-2"): 1})
        (aside,) = await service_client.xrange(f"{prefix}risk:dead")
        assert Assessment.model_validate_json(aside[1][b"assessment"]).event_id == "e-1"
        assert await service_client.xlen(aside[1][b"stream"]) <= 1, "the last one may be there for a moment"
    assert 10**6 - recorder.trouble == 3
    assert [record.getMessage() for record in caplog.records if "failed 3 times" in record.getMessage()]


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError(),
        redis.TimeoutError(),
        redis.exceptions.OutOfMemoryError(),
        redis.exceptions.ReadOnlyError(),
    ],
)
async def test_an_outage_of_redis_is_no_failed_attempt(
    service_client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("risk_engine.consumer.PAUSE", 0.005)
    recorder, chosen = Allergic(error, 10), settings(prefix, handle_attempts=1)
    async with running(chosen, client=service_client, handler=recorder) as engine:
        await engine.service.create_event("acme", event("e-1"))
        await until(lambda: recorder.handled == {("acme", "e-1"): 1})
        assert not await service_client.exists(f"{prefix}risk:dead")


async def test_what_cannot_be_put_aside_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says no to every write: where it takes them again, the result is handled after all."""
    monkeypatch.setattr("risk_engine.consumer.PAUSE", 0)
    assessment = Assessment(tenant_id="acme", event_id="e-1", decision="approve", score=0, reasons=())
    entry = (b"1-0", {b"assessment": assessment.model_dump_json().encode()})
    deleted: list[bytes] = []

    class Full:
        async def xread(self, streams: dict[str, str], **_: Any) -> Any:
            await asyncio.sleep(0)
            return [] if deleted else [(name, [entry]) for name in streams]

        async def xadd(self, *_: Any) -> None:
            raise redis.ResponseError("MISCONF")

        async def xdel(self, _: str, name: bytes) -> None:
            deleted.append(name)

    recorder = Allergic(redis.ResponseError("MISCONF"), 7)
    consumer = Consumer(Full(), Keys(), recorder, Counted(), attempts=3)
    mine: Any = [SimpleNamespace(partition=0)]
    await consumer.on_assigned(mine)
    await until(lambda: bool(deleted))
    await consumer.on_revoked(mine)
    assert recorder.handled == {("acme", "e-1"): 1}


async def test_what_cannot_be_deleted_is_not_handled_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that may be read and not written, as after a failover."""
    monkeypatch.setattr("risk_engine.consumer.PAUSE", 3600)
    assessment = Assessment(tenant_id="acme", event_id="e-1", decision="approve", score=0, reasons=())

    class ReadOnly:
        async def xread(self, streams: dict[str, str], **_: Any) -> Any:
            await asyncio.sleep(0)
            return [(name, [(b"1-0", {b"assessment": assessment.model_dump_json().encode()})]) for name in streams]

        async def xdel(self, *_: Any) -> None:
            raise redis.exceptions.ReadOnlyError("You can't write against a read only replica.")

    recorder = Recorder()
    consumer = Consumer(ReadOnly(), Keys(), recorder, Counted(), attempts=3)
    mine: Any = [SimpleNamespace(partition=0)]
    await consumer.on_assigned(mine)
    await until(lambda: bool(recorder.handled))
    for _ in range(100):
        await asyncio.sleep(0)
    await consumer.on_revoked(mine)
    assert recorder.handled == {("acme", "e-1"): 1}


async def test_what_is_no_result_is_put_aside(service_client: Any, prefix: str) -> None:
    for partition in range(4):
        await service_client.xadd(f"{prefix}risk:results:{partition}", {"assessment": "{", "from": "a stranger"})
    recorder = Recorder()
    async with running(settings(prefix), client=service_client, handler=recorder) as engine:
        await engine.service.create_event("acme", event())
        await until(lambda: bool(recorder.handled))
        async with asyncio.timeout(60):
            while await service_client.xlen(f"{prefix}risk:dead") < 4:
                await asyncio.sleep(0.005)
    aside = await service_client.xrange(f"{prefix}risk:dead")
    assert {fields[b"from"] for _, fields in aside} == {b"a stranger"}
    assert {fields[b"stream"].decode() for _, fields in aside} == {f"{prefix}risk:results:{n}" for n in range(4)}
