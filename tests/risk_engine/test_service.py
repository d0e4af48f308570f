"""The use case with fakes: what fails, what is kept, and that nothing is done twice unmarked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import time_machine
from risk_engine.errors import (
    DomainValidationError,
    FailureClass,
    IdempotencyConflictError,
    InProgressError,
    MessagingFailureError,
    ModelFailureError,
    StateConflictError,
    classify,
)
from risk_engine.keys import Keys
from risk_engine.service import Protected
from risk_engine.state import InMemoryStateStore, RedisStateStore, Step

import riskscale
from riskscale import BulkheadExecutor, CircuitBreaker, Hub, IdempotencyGuard, Limit, RateLimiter
from tests.risk_engine.parts import Fakes, FlakyModel, FlakyPublisher, event


def protected(hub: Hub, **changes: Any) -> Protected:
    parts: dict[str, Any] = {
        "hub": hub, "limiter": RateLimiter(hub, Limit(100, per=60), name="events"),
        "guard": IdempotencyGuard(hub, "events"), "bulkhead": BulkheadExecutor(4, 200, tenant_concurrent=2),
    }  # fmt: skip
    return Protected(**(parts | changes))


async def test_an_event_is_assessed_published_audited_and_charged_once(hub: Hub) -> None:
    fakes = Fakes(protection=protected(hub))
    payment = event()
    first, again = [await fakes.service.create_event("acme", payment) for _ in range(2)]
    assert (first.replayed, again.replayed, first.body) == (False, True, again.body)
    assert [redelivery for _, redelivery in fakes.publisher.messages] == [False]
    (entry,) = await fakes.audit.entries("acme")
    assert (entry.event_id, entry.decision, entry.message_id, entry.redelivery) == ("e-1", "approve", "1", False)
    assert fakes.costs.by_tenant["acme"] == fakes.metrics.totals["risk_model_cost"] == 25


@pytest.mark.parametrize(("before", "after", "sent"), [(1, 0, [True]), (0, 1, [False, True]), (2, 1, [True, True])])
async def test_a_failed_publish_leaves_nothing_and_the_retry_publishes_with_its_mark(
    hub: Hub, before: int, after: int, sent: list[bool]
) -> None:
    fakes = Fakes(protection=protected(hub), publisher=FlakyPublisher(before, after))
    payment = event()
    for _ in range(before + after):
        with pytest.raises(MessagingFailureError) as caught:
            await fakes.service.create_event("acme", payment)
        assert classify(caught.value).kind is FailureClass.MESSAGING_ERROR
        assert await fakes.audit.entries("acme") == []
    created = await fakes.service.create_event("acme", payment)
    assert not created.replayed
    assert [redelivery for _, redelivery in fakes.publisher.messages] == sent
    assert len(await fakes.audit.entries("acme")) == 1
    assert fakes.costs.by_tenant["acme"] == 25, "the score of the first attempt was kept"


async def test_a_publisher_whose_own_breaker_opened_may_have_sent(hub: Hub) -> None:
    opened = riskscale.CircuitOpen("link", 1.0)
    fakes = Fakes(protection=protected(hub), publisher=FlakyPublisher(after=1, reset=opened))
    payment = event()
    with pytest.raises(riskscale.CircuitOpen):
        await fakes.service.create_event("acme", payment)
    await fakes.service.create_event("acme", payment)
    assert [redelivery for _, redelivery in fakes.publisher.messages] == [False, True]


async def test_a_breaker_that_is_open_leaves_no_mark(hub: Hub) -> None:
    breaker = CircuitBreaker(1, 30, name="publisher")
    fakes = Fakes(protection=protected(hub), publisher=FlakyPublisher(before=1), publisher_breaker=breaker)
    with pytest.raises(MessagingFailureError):
        await fakes.service.create_event("acme", event("e-1"))
    with pytest.raises(riskscale.CircuitOpen) as caught:
        await fakes.service.create_event("acme", payment := event("e-2"))
    failure = classify(caught.value)
    assert (failure.kind, failure.status) == (FailureClass.DEPENDENCY_OPEN, 503)
    assert 0 < (failure.retry_after or 0) <= 30
    await breaker.reset("it is back")
    await fakes.service.create_event("acme", payment)
    assert [redelivery for _, redelivery in fakes.publisher.messages] == [False]


async def test_a_model_that_fails_or_hangs_costs_and_is_asked_again(hub: Hub) -> None:
    async def fails() -> None:
        raise RuntimeError("no")

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def works() -> None: ...

    model = FlakyModel(fails)
    fakes = Fakes(protection=protected(hub), model=model)
    payment = event()
    with pytest.raises(ModelFailureError):
        await fakes.service.create_event("acme", payment)
    model.trouble = hangs
    with pytest.raises(TimeoutError) as caught:
        await fakes.service.create_event("acme", payment)
    assert classify(caught.value).kind is FailureClass.TIMEOUT
    model.trouble = works
    await fakes.service.create_event("acme", payment)
    assert fakes.costs.by_tenant["acme"] == 75
    assert len(fakes.publisher.messages) == 1


async def test_another_event_under_the_same_key_or_id_is_refused(hub: Hub) -> None:
    fakes = Fakes(protection=protected(hub))
    await fakes.service.create_event("acme", event("e-1"), "key-1")
    for key, name in (("key-1", "e-2"), ("key-2", "e-1")):
        with pytest.raises(IdempotencyConflictError) as caught:
            await fakes.service.create_event("acme", event(name, amount="13"), key)
        assert (classify(caught.value).kind, classify(caught.value).status) == (FailureClass.WORKFLOW_ERROR, 422)
    assert not (await fakes.service.create_event("globex", event("e-1", amount="13"), "key-1")).replayed
    assert [assessment.tenant_id for assessment, _ in fakes.publisher.messages] == ["acme", "globex"]


@pytest.mark.parametrize("kept", ["memory", "redis"])
async def test_an_event_that_was_not_scored_has_its_id_already(
    hub: Hub, service_client: Any, prefix: str, kept: str
) -> None:
    async def fails() -> None:
        raise RuntimeError("no")

    async def works() -> None: ...

    store = InMemoryStateStore() if kept == "memory" else RedisStateStore(service_client, Keys(prefix))
    fakes = Fakes(protection=protected(hub), store=store, model=(model := FlakyModel(fails)))
    payment = event()
    with pytest.raises(ModelFailureError):
        await fakes.service.create_event("acme", payment, "key-1")
    assert await fakes.service.find("acme", "e-1") is None, "there is no assessment yet"
    model.trouble = works
    with pytest.raises(IdempotencyConflictError) as caught:
        await fakes.service.create_event("acme", event(amount="13"), "key-2")
    assert (classify(caught.value).kind, classify(caught.value).status) == (FailureClass.WORKFLOW_ERROR, 422)
    await fakes.service.create_event("acme", payment, "key-3")
    assert [assessment.event_id for assessment, _ in fakes.publisher.messages] == ["e-1"]
    state = await store.get("acme", "e-1")
    assert state is not None and state.event == payment


async def test_a_state_of_which_only_the_fence_is_known_is_completed(service_client: Any, prefix: str) -> None:
    """A replica of the release before claimed it."""
    store, keys = RedisStateStore(service_client, Keys(prefix)), Keys(prefix)
    await service_client.hset(keys.of("acme", "workflow", "e-1"), "fence", 7)
    state = await store.claim("acme", event(), 8)
    assert (state.step, state.fence) == (Step.RECEIVED, 8)
    assert await store.get("acme", "e-1") == state


async def test_who_comes_while_it_is_worked_on_is_told_to_wait(hub: Hub) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await go_on.wait()

    fakes = Fakes(protection=protected(hub, wait_seconds=0), model=FlakyModel(slow))
    payment = event()
    working = asyncio.create_task(fakes.service.create_event("acme", payment))
    await begun.wait()
    with pytest.raises(InProgressError) as caught:
        await fakes.service.create_event("acme", payment)
    failure = classify(caught.value)
    assert failure.status == 409
    assert 0 < (failure.retry_after or 0) <= 30
    go_on.set()
    assert not (await working).replayed


async def test_a_tenant_over_its_limit_is_refused_before_anything_is_done(hub: Hub) -> None:
    limiter = RateLimiter(hub, Limit(2, per=60), name="events")
    fakes = Fakes(protection=protected(hub, limiter=limiter))
    for number in range(2):
        await fakes.service.create_event("acme", event(f"e-{number}"))
    with pytest.raises(riskscale.RateLimitExceeded) as caught:
        await fakes.service.create_event("acme", event("e-3"))
    failure = classify(caught.value)
    assert (failure.kind, failure.status) == (FailureClass.RATE_LIMITED, 429)
    assert 0 < (failure.retry_after or 0) <= 60
    assert await fakes.store.get("acme", "e-3") is None
    await fakes.service.create_event("globex", event("e-3"))


async def test_a_newer_holder_shuts_out_the_one_before(service_client: Any, prefix: str) -> None:
    store = RedisStateStore(service_client, Keys(prefix))
    payment = event()
    old = await store.claim("acme", payment, 7)
    await store.save(old.after(step=Step.PUBLISHING))
    newer = await store.claim("acme", payment, 8)
    assert (newer.step, newer.fence) == (Step.PUBLISHING, 8)
    for late in (store.save(old), store.claim("acme", payment, 7)):
        with pytest.raises(StateConflictError) as caught:
            await late
        assert classify(caught.value).kind is FailureClass.LOCK_LOST
    assert await store.get("acme", "e-1") == old.after(step=Step.PUBLISHING)
    assert await store.get("globex", "e-1") is None


async def test_a_state_is_kept_as_long_as_the_key_of_its_event_and_a_day_at_least(
    service_client: Any, prefix: str
) -> None:
    for days, kept in ((7, 7), (1 / 24, 1)):
        store = RedisStateStore(service_client, Keys(prefix), days * 86_400)
        await store.claim("acme", event(f"e-{kept}"), 7)
        assert await service_client.ttl(Keys(prefix).of("acme", "workflow", f"e-{kept}")) > kept * 86_400 - 60


async def test_what_another_replica_accepted_is_read_whatever_its_clock_says(service_client: Any, prefix: str) -> None:
    store = RedisStateStore(service_client, Keys(prefix))
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        state = await store.claim("acme", event(), 7)
        await store.save(state)
    assert await store.get("acme", "e-1") == state
    assert await store.claim("acme", state.event, 8) == state.after(fence=8)


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (lambda: DomainValidationError("amount", "is negative"), "VALIDATION_ERROR", 422),
        (lambda: riskscale.LeaseLost("workflow:1", 7), "LOCK_LOST", 503),
        (riskscale.BulkheadFull, "OVERLOADED", 503),
        (lambda: riskscale.AcquireTimeout("workflow:1", 2.0), "TIMEOUT", 503),
        (lambda: riskscale.RateLimitExceeded("acme", "2/60s", float("inf")), "RATE_LIMITED", 429),
        (lambda: redis.ConnectionError("redis://user:secret@host"), "STORAGE_ERROR", 503),
        (redis.TimeoutError, "STORAGE_ERROR", 503),
        (lambda: redis.exceptions.OutOfMemoryError("OOM"), "STORAGE_ERROR", 503),
        (ConnectionResetError, "STORAGE_ERROR", 503),
        (ZeroDivisionError, "INTERNAL_ERROR", 500),
    ],
)
def test_every_failure_has_its_class(error: Callable[[], Exception], kind: str, status: int) -> None:
    failure = classify(error())
    assert (failure.kind, failure.status) == (kind, status)
    assert "secret" not in failure.title
