"""A breaker that replicas share: what each tells the others, and how soon."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from riskscale import ArgumentError, BreakerPolicy, BreakerState, CircuitBreaker, CircuitOpen, Hub, InMemoryMetrics
from riskscale.errors import StateError
from tests.breaker.fleet import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    SELDOM,
    admitted,
    answer,
    attempts,
    fail,
    failures,
    fleet,
    until,
)

THREE = BreakerPolicy(consecutive_failures=3, open_seconds=60, refresh_seconds=SELDOM)


async def test_one_trips_and_all_are_told(client: Any, prefix: str) -> None:
    async with fleet(client, prefix, 4, THREE) as breakers:
        events = [breaker.events() for breaker in breakers]
        await failures(breakers[0], 3)
        assert breakers[0].state is OPEN, "without a round trip"
        await until(lambda: all(breaker.state is OPEN for breaker in breakers))
        assert admitted(await attempts(breakers)) == 0
        info = await breakers[1].inspect()
        assert info.state is OPEN and 0 < info.remaining <= 60 and info.replicas == 4 and info.transition
        for at, each in enumerate(events):
            transition = await each.__anext__()
            if at == 0:
                assert not transition.shared, "it noticed"
                transition = await each.__anext__()
            assert (transition.before, transition.after, transition.reason) == (CLOSED, OPEN, "consecutive_failures")
            assert transition.shared and transition.by == breakers[0]._replica.node and transition.lasts == 60  # type: ignore[attr-defined]
            assert transition.counts.failures == 3 and transition == info.transition


async def test_closed_and_open_calls_make_no_round_trip(client: Any, prefix: str, monkeypatch: Any) -> None:
    policy = BreakerPolicy(consecutive_failures=5, open_seconds=60, refresh_seconds=SELDOM, flush_failures=1000)
    async with fleet(client, prefix, 1, policy) as (breaker,):
        asked: list[str] = []
        ask = Hub.ask

        async def counting(self: Hub, call: Any) -> Any:
            asked.append(call.script)
            return await ask(self, call)

        monkeypatch.setattr(Hub, "ask", counting)
        for _ in range(500):
            await failures(breaker, 1)
            await breaker.call(answer)
        assert not asked
        await failures(breaker, 5)
        await until(lambda: asked)
        await until(lambda: breaker._replica.own.generation == breaker._replica._known.generation)  # type: ignore[attr-defined]
        for _ in range(500):
            with pytest.raises(CircuitOpen):
                await breaker.call(fail)
        assert asked == ["breaker.report"]


async def test_they_trip_together_though_none_alone_has_enough(client: Any, prefix: str) -> None:
    policy = BreakerPolicy(failure_rate=0.5, minimum_calls=100, open_seconds=60, refresh_seconds=0.3)
    async with fleet(client, prefix, 20, policy) as breakers:
        for breaker in breakers:
            await failures(breaker, 9)
        await until(lambda: all(breaker.state is OPEN for breaker in breakers))
        info = await breakers[0].inspect()
        assert info.transition and info.transition.reason == "failure_rate" and info.transition.counts.calls >= 100


async def test_one_that_is_alone_with_it_opens_for_itself_only(client: Any, prefix: str) -> None:
    policy = BreakerPolicy(failure_rate=0.5, minimum_calls=4, open_seconds=60, quorum=2, refresh_seconds=0.02)
    async with fleet(client, prefix, 3, policy) as breakers:
        bad, good, other = breakers
        while bad.state is CLOSED:
            await failures(bad, 1)
        while (info := await good.inspect()).votes < 1 or info.counts.failures < 3:
            await asyncio.sleep(0.005)
        assert info.state is CLOSED and good.state is CLOSED and other.state is CLOSED and info.votes == 1
        assert admitted(await attempts(breakers)) == 2
        while other.state is CLOSED:
            await failures(other, 1)
        await until(lambda: good.state is OPEN)
        info = await good.inspect()
        assert info.state is OPEN and info.transition and info.transition.counts.failures >= 5


async def test_exactly_the_permitted_probes(client: Any, prefix: str) -> None:
    policy = BreakerPolicy(consecutive_failures=3, open_seconds=0.05, permits=3, refresh_seconds=SELDOM)
    async with fleet(client, prefix, 20, policy) as breakers:
        gate, tried = asyncio.Event(), []

        async def probe() -> str:
            tried.append(1)
            await gate.wait()
            return "answer"

        await failures(breakers[0], 3)
        await until(lambda: all(breaker.state is not CLOSED for breaker in breakers))
        tasks = []
        while len(tried) < 3:
            tasks += [asyncio.create_task(breaker.call(probe)) for breaker in breakers]
            await asyncio.sleep(0.005)
        for _ in range(5):
            tasks += [asyncio.create_task(breaker.call(probe)) for breaker in breakers]
            await asyncio.sleep(0.01)
        assert len(tried) == 3 and (await breakers[5].inspect()).probes == 3
        gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert admitted(outcomes) == 3
        await until(lambda: all(breaker.state is CLOSED for breaker in breakers))


async def test_a_probe_that_fails_opens_it_again_for_longer(client: Any, prefix: str) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_seconds=0.02, open_growth=10, refresh_seconds=SELDOM)
    async with fleet(client, prefix, 2, policy) as (one, two):
        await failures(one, 1)
        await until(lambda: two.state is OPEN)
        while (info := await one.inspect()).opens < 3:
            await attempts([one, two], fail)
            await asyncio.sleep(0.005)
        assert info.transition and info.transition.reason == "probe_failed" and info.transition.lasts == 2


async def test_a_replica_that_starts_while_it_is_open_admits_none(client: Any, prefix: str) -> None:
    async with fleet(client, prefix, 1, THREE) as (breaker,):
        await failures(breaker, 3)
        while (await breaker.inspect()).state is not OPEN:
            await asyncio.sleep(0.001)
        async with Hub(client, key_prefix=prefix) as hub:
            new = CircuitBreaker(name="payments", policy=THREE, redis=hub)
            outcomes = await asyncio.gather(*(new.call(answer) for _ in range(1000)), return_exceptions=True)
            assert admitted(outcomes) == 0


async def test_a_late_probe_of_an_old_generation_is_ignored(client: Any, prefix: str) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_seconds=0.05, probe_seconds=0.1, refresh_seconds=0.02)
    async with fleet(client, prefix, 2, policy) as (one, two):
        await failures(one, 1)
        await until(lambda: two.state is OPEN)
        gate = asyncio.Event()
        late = asyncio.create_task(retried(one, gate.wait))
        await until(lambda: one.state is HALF_OPEN)
        await two.force_open(60, "a new generation")
        await until(lambda: one.state is OPEN)
        gate.set()
        assert await late
        await until(lambda: not one._replica.has_news)  # type: ignore[attr-defined]
        assert (await one.inspect()).state is OPEN


async def retried(breaker: CircuitBreaker, func: Any) -> Any:
    while True:
        try:
            return await breaker.call(func)
        except CircuitOpen as error:
            await asyncio.sleep(min(error.retry_after, 0.02))


async def test_a_cancelled_probe_gives_its_permit_back(client: Any, prefix: str) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_seconds=0.02, probe_seconds=3600, refresh_seconds=0.02)
    async with fleet(client, prefix, 2, policy) as (one, two):
        await failures(one, 1)
        await until(lambda: two.state is OPEN)
        hung = asyncio.create_task(retried(one, asyncio.Event().wait))
        await until(lambda: one.state is HALF_OPEN)
        hung.cancel()
        await asyncio.wait({hung})
        assert await retried(two, answer) == "answer"
        await until(lambda: one.state is CLOSED)


async def test_without_the_pushes_the_re_read_tells(client: Any, prefix: str) -> None:
    policy = BreakerPolicy(consecutive_failures=3, open_seconds=60, refresh_seconds=0.02)
    async with Hub(client, key_prefix=prefix) as deaf, fleet(client, prefix, 1, policy) as (breaker,):
        deaf.mailbox._possible = False
        other = CircuitBreaker(name="payments", policy=policy, redis=deaf)
        await other.call(answer)
        await failures(breaker, 3)
        await until(lambda: other.state is OPEN)
        await breaker.reset("it is back")
        await until(lambda: other.state is CLOSED)


@pytest.mark.parametrize("which", ["all", "breaker"])
async def test_the_key_is_lost_while_it_is_open(client: Any, prefix: str, raw_client: Any, which: str) -> None:
    policy = BreakerPolicy(consecutive_failures=3, open_seconds=60, refresh_seconds=0.05)
    async with fleet(client, prefix, 2, policy) as breakers:
        await failures(breakers[0], 3)
        await until(lambda: breakers[1].state is OPEN)
        before = await breakers[0].inspect()
        keys = raw_client.keys(f"{prefix}*") if which == "all" else [f"{prefix}rs1:{{payments}}:breaker"]
        raw_client.delete(*keys)
        async with Hub(client, key_prefix=prefix) as hub:  # it knows nothing, and cannot overrule the others
            new = CircuitBreaker(name="payments", policy=policy, redis=hub)
            await asyncio.gather(new.call(answer), return_exceptions=True)
            await until(lambda: new.state is OPEN)
        after = await breakers[0].inspect()
        assert after.state is OPEN and after.transition and after.transition.reason == "restored"
        assert before.transition and after.transition.generation == before.transition.generation
        assert after.remaining <= after.transition.lasts < before.transition.lasts, "as much as they knew to be left"
        assert admitted(await attempts(breakers)) == 0


async def test_by_hand_for_all(client: Any, prefix: str) -> None:
    async with fleet(client, prefix, 3, THREE) as breakers:
        await breakers[0].force_open(600, "they are moving house")
        assert breakers[0].state is OPEN
        await until(lambda: all(breaker.state is OPEN for breaker in breakers))
        info = await breakers[2].inspect()
        assert info.transition and info.transition.forced and info.transition.reason == "they are moving house"
        await breakers[1].disable(600, "we know better")
        await until(lambda: all(breaker.state == "disabled" for breaker in breakers))
        await failures(breakers[2], 10)
        await breakers[1].metrics_only(0.05, "and look")
        await until(lambda: all(breaker.state == "metrics_only" for breaker in breakers))
        await failures(breakers[2], 10)
        while breakers[0].state is not CLOSED:
            await breakers[0].call(answer)
            await asyncio.sleep(0.005)
        await breakers[0].reset("again")
        assert (await breakers[0].inspect()).state is CLOSED


async def test_two_policies_under_one_name(client: Any, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    other = BreakerPolicy(consecutive_failures=7, open_seconds=60, refresh_seconds=0.02)
    async with fleet(client, prefix, 1, THREE) as (old,), fleet(client, prefix, 1, other) as (new,):
        await failures(old, 3)
        await until(lambda: new.state is OPEN)
        await until(lambda: "two policies" in caplog.text)
        (message,) = {record.getMessage() for record in caplog.records if "two policies" in record.getMessage()}
        assert re.search(r"consecutive=3 .*consecutive=7 ", message)
        assert (await new.inspect()).policy == THREE.rules, "of the newest generation"
        await new.reset("by hand")
        await until(lambda: old.state is CLOSED)
        await failures(old, 2)
        await failures(new, 5)
        assert new.state is CLOSED, "each decides by its own"


async def test_objects_of_one_name_are_one_replica(client: Any, prefix: str) -> None:
    async with Hub(client, key_prefix=prefix) as hub:
        seen: list[tuple[str, str]] = []
        one = CircuitBreaker(3, 60, "payments", lambda *words: seen.append(words), redis=hub)
        two = CircuitBreaker(3, 60, "payments", redis=hub)
        await failures(one, 2)
        await failures(two, 1)
        assert one.state is OPEN and two.state is OPEN
        while (await one.inspect()).state is not OPEN:
            await asyncio.sleep(0.001)
        assert [metric for metric, _ in seen].count("circuit_breaker_state_change") == 1
        assert (await one.inspect()).replicas == 1


async def test_a_key_of_another_kind_never_disturbs_a_call(
    client: Any, prefix: str, raw_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    raw_client.set(f"{prefix}rs1:{{payments}}:breaker", "mine", px=60_000)
    async with Hub(client, key_prefix=prefix) as hub:
        breaker = CircuitBreaker(name="payments", policy=THREE, redis=hub)
        assert await breaker.call(answer) == "answer"
        await failures(breaker, 3)
        assert admitted(await attempts([breaker])) == 0
        with pytest.raises(StateError):
            await breaker.inspect()
    assert re.search("decides by itself: StateError$", caplog.text, re.MULTILINE), "an error's text may hold an address"


@pytest.mark.parametrize("options", [{"decode_responses": True}, {"protocol": 2}, {"protocol": 3}])
async def test_any_client(connect: Any, prefix: str, options: dict[str, Any]) -> None:
    async with fleet(connect(**options), prefix, 2, THREE) as breakers:
        await failures(breakers[0], 3)
        await until(lambda: breakers[1].state is OPEN)
        assert (await breakers[1].inspect()).transition


async def test_a_bare_client_leaves_nothing_behind(client: Any, prefix: str) -> None:
    before = asyncio.all_tasks()
    policy = BreakerPolicy(consecutive_failures=3, open_seconds=0.05, refresh_seconds=0.02)
    hubs = [Hub(client, key_prefix=prefix) for _ in range(2)]
    for hub in hubs:
        hub.lasting = False  # as of a bare client
    one, two = (CircuitBreaker(name="payments", policy=policy, redis=hub) for hub in hubs)
    await two.call(answer)
    await failures(one, 3)
    assert asyncio.all_tasks() == before
    assert (await two.inspect()).state is OPEN, "what is urgent went with the call"
    while not isinstance((await attempts([two]))[0], CircuitOpen):
        await asyncio.sleep(0.005)
    assert await retried(two, answer) == "answer"
    while one.state is not CLOSED:
        await attempts([one])
        await asyncio.sleep(0.005)
    assert asyncio.all_tasks() == before


async def test_the_last_report_goes_with_the_hub(client: Any, prefix: str) -> None:
    before = asyncio.all_tasks()
    async with Hub(client, key_prefix=prefix) as hub:
        breaker = CircuitBreaker(name="payments", policy=THREE, redis=hub)
        events = breaker.events()
        for _ in range(5):
            await breaker.call(answer)
        await failures(breaker, 2)
    assert asyncio.all_tasks() == before
    assert [event async for event in events] == []
    assert await breaker.call(answer) == "answer", "alone, from now on"
    async with Hub(client, key_prefix=prefix) as hub:
        info = await CircuitBreaker(name="payments", policy=THREE, redis=hub).inspect()
        assert (info.counts.calls, info.counts.failures) == (7, 2)


async def test_bad_arguments(client: Any, prefix: str) -> None:
    by_count = BreakerPolicy(failure_rate=0.5, window_calls=10)
    async with Hub(client, key_prefix=prefix) as hub:
        for argument, options in (
            ("name", {"policy": THREE}),
            ("name", {"policy": THREE, "name": ""}),
            ("policy", {"policy": by_count, "name": "x"}),
        ):
            with pytest.raises(ArgumentError) as caught:
                CircuitBreaker(**options, redis=hub)  # type: ignore[arg-type]
            assert caught.value.argument == argument
        with pytest.raises(ArgumentError):
            CircuitBreaker(3, 60, "x", redis=object())


async def test_metrics_of_the_hub(client: Any, prefix: str) -> None:
    metrics = InMemoryMetrics()
    async with Hub(client, key_prefix=prefix, metrics=metrics) as hub:
        breaker, *_others = (CircuitBreaker(1, 60, "payments", redis=hub) for _ in range(3))
        await breaker.call(answer)
        await failures(breaker, 1)
        await attempts([breaker])
    for name in ("success", "failure", "rejected"):
        assert metrics.total(f"circuit_breaker_{name}", breaker="payments") == 1
    assert metrics.total("circuit_breaker_state_change", breaker="payments") == 1, "once, however many objects"
    states = {state: metrics.last("circuit_breaker_state", breaker="payments", state=state) for state in BreakerState}
    assert states == dict.fromkeys(BreakerState) | {BreakerState.CLOSED: 0, BreakerState.OPEN: 1}


async def test_a_policy_made_anew_for_each_object_is_warned_of(
    client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Hub(client, key_prefix=prefix) as hub:
        for at in range(20):
            policy = BreakerPolicy(consecutive_failures=1, failure_result=lambda result: result is None)
            CircuitBreaker(name="payments", policy=policy, redis=hub)
            CircuitBreaker(name=f"other {at}", policy=THREE, redis=hub)
            CircuitBreaker(name="payments", policy=THREE, redis=hub)
            assert ("has more than 16 policies" in caplog.text) == (at >= 15), at
    assert caplog.text.count("has more than 16 policies") == 1
