"""The publisher fails before it has sent, after it has sent, for a while, and for good."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from risk_engine.errors import FailureClass, MessagingFailureError, classify
from risk_engine.events import Assessment
from risk_engine.publisher import StreamPublisher
from risk_engine.wiring import Engine

import riskscale
from riskscale.testing import ServerProcess
from tests.chaos.harness import PARTITIONS, Told, assert_books, embedded, insist_on_all, on_server, payments, until
from tests.risk_engine.parts import Fakes, FlakyPublisher, event


class BrokenPublisher(StreamPublisher):
    """The real one: ``before`` and ``after`` say how often it raises, and ``hangs`` how often it waits."""

    before = after = hangs = 0

    async def publish(self, assessment: Assessment, *, redelivery: bool) -> str:
        if self.before:
            self.before -= 1
            raise ConnectionRefusedError("no broker")
        name = await super().publish(assessment, redelivery=redelivery)
        if self.after:
            self.after -= 1
            raise ConnectionResetError("the broker went away")
        if self.hangs:
            self.hangs -= 1
            await asyncio.Event().wait()
        return name


def broken(client: Any, **trouble: int) -> BrokenPublisher:
    from risk_engine.keys import Keys

    publisher = BrokenPublisher(client, Keys(), PARTITIONS)
    for name, times in trouble.items():
        setattr(publisher, name, times)
    return publisher


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1), (3, 2)])
async def test_with_fakes_every_attempt_fails_with_its_class_and_the_last_one_publishes(
    before: int, after: int
) -> None:
    fakes = Fakes(publisher=FlakyPublisher(before, after))
    payment = event()
    for _ in range(before + after):
        with pytest.raises(MessagingFailureError) as caught:
            await fakes.service.create_event("acme", payment)
        assert classify(caught.value).status == 503
        assert await fakes.audit.entries("acme") == []
        assert (await fakes.store.get("acme", "e-1")).message_id == ""
    await fakes.service.create_event("acme", payment)
    assert [marked for _, marked in fakes.publisher.messages].count(False) <= 1
    assert len(fakes.publisher.messages) == 1 + after


@pytest.mark.parametrize("trouble", [{"before": 6}, {"after": 6}, {"before": 3, "after": 3}, {"hangs": 2}])
async def test_embedded_all_come_through_and_the_breaker_opens_and_closes(
    tmp_path: Path, trouble: dict[str, int]
) -> None:
    from risk_engine.settings import Settings
    from risk_engine.wiring import connect

    client = connect(Settings())
    async with embedded(tmp_path, client, {"lock_seconds": 60}, publisher=broken(client, **trouble)) as engine:
        told = Told()
        await insist_on_all([engine], told, payments(10))
        await assert_books(engine, told)
        await recovered(engine)
    await client.aclose()
    assert set(told.failures) <= {FailureClass.MESSAGING_ERROR, FailureClass.DEPENDENCY_OPEN}
    assert told.failures[FailureClass.MESSAGING_ERROR] >= min(sum(trouble.values()), 2)


async def test_a_broker_that_is_gone_for_good_opens_the_breaker_of_all_replicas(
    scratch_server: ServerProcess, tmp_path: Path
) -> None:
    url, slow = scratch_server.url, {"open_seconds": 600, "lock_seconds": 60}
    async with (
        on_server(url, tmp_path, slow) as plain,
        on_server(url, tmp_path, slow, publisher=broken(plain.client, before=10**6)) as one,
        on_server(url, tmp_path, slow, publisher=broken(plain.client, before=10**6)) as two,
    ):
        events = payments(10)
        for each in events[:5]:
            with pytest.raises(MessagingFailureError):
                await one.service.create_event("acme", each)
        with pytest.raises(riskscale.CircuitOpen) as caught:  # at its first call it asks what the others know
            await two.service.create_event("acme", events[9])
        assert classify(caught.value).kind is FailureClass.DEPENDENCY_OPEN
        told = Told()
        await plain.breakers[1].reset("the broker is back")
        await insist_on_all([plain], told, events)  # those that failed go through as well
        assert len(told.accepted) == 20
        await assert_books(plain, told)
        await recovered(plain)


async def recovered(engine: Engine) -> None:
    """Without a restart: the breaker is closed, and an event goes through at once."""
    await until(lambda: engine.breakers[1].state == "closed")
    await engine.service.create_event("acme", event("e-after"))
