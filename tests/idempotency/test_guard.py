"""The guard as a service uses it: once, the same for all, and what becomes of those who fail."""

from __future__ import annotations

import asyncio
import pickle
import time
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import (
    ArgumentError,
    Claim,
    Hub,
    HubClosed,
    IdempotencyConflict,
    IdempotencyGuard,
    InMemoryMetrics,
    InProgress,
    LeaseLost,
    Mismatch,
    Replay,
    StateError,
)
from riskscale._core.scripts import script
from riskscale.lease.keeper import Keeper
from riskscale.testing import VirtualClock
from tests.idempotency.conftest import PATIENCE, Work

CALL = "tenant-7", "key-1", b"pay 10 to bob"


async def claim_of(guard: IdempotencyGuard, *call: Any) -> Claim:
    begun = await guard.begin(*(call or CALL))
    assert isinstance(begun, Claim)
    return begun


async def test_the_work_is_done_once_and_its_result_is_everybodys(guard: IdempotencyGuard) -> None:
    work = Work()
    first = await guard.run(*CALL, work)
    assert [await guard.run(*CALL, work) for _ in range(3)] == [first] * 3
    assert first == b"receipt \xff 1" and work.done == 1 and work.unknown == [0]
    seen = await guard.begin(*CALL)
    assert isinstance(seen, Replay) and seen.response == first and 86_300 < seen.expires_in <= 86_400 == guard.keep


async def test_fifty_tasks_at_once(guard: IdempotencyGuard, hub: Hub) -> None:
    work = Work(held=True)
    callers = [asyncio.create_task(guard.run(*CALL, work, wait=PATIENCE)) for _ in range(50)]
    await asyncio.wait_for(work.began.wait(), PATIENCE)
    work.may_end.set()
    assert set(await asyncio.gather(*callers)) == {b"receipt \xff 1"} and work.done == 1


async def test_who_waits_is_told_and_makes_three_calls(hub: Hub, connect: Any, prefix: str, monkeypatch: Any) -> None:
    """The first of them before the subscription is confirmed; nobody would look by himself in time."""
    monkeypatch.setattr("riskscale.idempotency.attempt.LOOK", 3600)
    monkeypatch.setattr("riskscale.idempotency.attempt.POLL", 3600)
    boxes, told, real = [], asyncio.Event(), hub.client.evalsha

    async def evalsha(*args: Any) -> Any:
        reply = await real(*args)
        boxes.append(args[-2])
        if boxes[-1]:
            told.set()
        return reply

    await hub.preload()
    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    async with Hub(connect(), key_prefix=prefix) as another:
        claim = await claim_of(IdempotencyGuard(another, "pay", ttl=3600))
        waiter = asyncio.create_task(IdempotencyGuard(hub, "pay").begin(*CALL, wait=PATIENCE))
        await asyncio.wait_for(told.wait(), PATIENCE)
        await claim.complete("done")
        seen = await waiter
    assert isinstance(seen, Replay) and seen.response == b"done"
    assert [bool(box) for box in boxes] == [False, True, True]


async def test_a_replay_is_one_round_trip(guard: IdempotencyGuard, hub: Hub, monkeypatch: Any) -> None:
    await guard.run(*CALL, Work())
    real, calls = hub.client.execute_command, []

    async def execute_command(*words: Any, **options: Any) -> Any:
        calls.append(words[0])
        return await real(*words, **options)

    monkeypatch.setattr(hub.client, "execute_command", execute_command)
    await guard.run(*CALL, Work(), wait=PATIENCE)
    assert calls == ["EVALSHA"]


async def test_in_progress_and_mismatch(guard: IdempotencyGuard) -> None:
    async with await claim_of(guard) as claim:
        seen = await guard.begin(*CALL)
        assert isinstance(seen, InProgress) and 0 < seen.remaining <= 30
        with pytest.raises(IdempotencyConflict, match="under way") as caught:
            await guard.run(*CALL, Work(), wait=0.01)
        assert caught.value.reason == "in_progress" and 0 < caught.value.retry_after <= 30
        assert isinstance(await guard.begin(*CALL[:2], b"pay 1000 to bob"), Mismatch)
        await claim.complete(None)
    with pytest.raises(IdempotencyConflict) as caught:
        await guard.run(*CALL[:2], b"pay 1000 to bob", Work())
    assert caught.value.reason == "mismatch"
    with pytest.raises(IdempotencyConflict) as caught:
        await guard.run(*CALL, Work())
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.key, again.reason, str(again)) == ("key-1", "not_kept", str(caught.value))


async def test_a_failed_publish_leaves_nothing_and_the_retry_runs_again(guard: IdempotencyGuard) -> None:
    work = Work()

    async def fails(claim: Claim) -> bytes:
        raise OSError("no broker")

    for _ in range(2):
        with pytest.raises(OSError, match="no broker"):
            await guard.run(*CALL, fails)
    assert await guard.run(*CALL, work) == b"receipt \xff 1" and work.unknown == [0]


async def test_a_block_left_without_a_result_leaves_nothing(guard: IdempotencyGuard, raw_client: Any) -> None:
    async with await claim_of(guard):
        pass
    assert not list(raw_client.scan_iter("*idempotency*"))
    claim = await claim_of(guard)
    await claim.abandon(unknown=True)
    claim = await claim_of(guard)
    assert claim.unknown == 1
    await claim.abandon()
    assert (await claim_of(guard)).unknown == 1, "what this attempt did not do says nothing of the one before"


async def test_a_result_that_is_none_leaves_the_outcome_unknown(guard: IdempotencyGuard) -> None:
    """The work was done, or nobody would complete it."""
    with pytest.raises(ArgumentError, match="response must be text or bytes"):
        async with await claim_of(guard) as claim:
            await claim.complete({"receipt": 1})  # type: ignore[arg-type]
    assert (await claim_of(guard)).unknown == 1


async def test_a_hub_that_closes_while_a_claim_is_completed(connect: Any, prefix: str, monkeypatch: Any) -> None:
    """It looks after nothing afterwards."""
    hub, asked, real = Hub(connect(), key_prefix=prefix), asyncio.Event(), None
    guard = IdempotencyGuard(hub, "pay")
    claim, real = await claim_of(guard), hub.client.evalsha

    async def evalsha(sha: str, *args: Any) -> Any:
        if sha == script("idempotency.complete").sha:
            asked.set()
            await asyncio.Event().wait()
        return await real(sha, *args)

    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    completing = asyncio.create_task(claim.complete("done"))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    await hub.aclose(timeout=0.01)
    with pytest.raises(HubClosed):
        await completing
    assert not claim._watches and hub.part(Keeper)._timer is None


async def test_a_cancelled_worker_leaves_its_outcome_unknown(guard: IdempotencyGuard) -> None:
    work = Work(held=True)
    worker = asyncio.create_task(guard.run(*CALL, work))
    await asyncio.wait_for(work.began.wait(), PATIENCE)
    worker.cancel()
    await asyncio.wait({worker})
    work.may_end.set()
    assert worker.cancelled() and await guard.run(*CALL, work) and work.unknown == [0, 1]


async def test_a_takeover_is_marked_and_the_late_result_is_refused(timed: Any, clock: VirtualClock) -> None:
    slow, other, work = timed(auto_renew=False), timed(), Work()
    late = await claim_of(slow)
    clock.advance(29.999999)
    assert await other.begin(*CALL) == InProgress(remaining=0.000001)
    clock.advance(us=1)
    assert await other.run(*CALL, work) == b"receipt \xff 1" and work.unknown == [1]
    with pytest.raises(LeaseLost, match=r"^the idempotency lease on 'key-1' \(fence \d+\) is no longer held"):
        await late.complete("mine")
    assert late.lost.is_set() and late.remaining() == 0
    with pytest.raises(LeaseLost):
        await late.release()
    assert (await other.begin(*CALL)).response == b"receipt \xff 1"


async def test_a_late_result_is_kept_where_nobody_has_taken_over(timed: Any, clock: VirtualClock) -> None:
    guard = timed(auto_renew=False)
    async with await claim_of(guard) as claim:
        clock.advance(3600)
        await claim.complete("late")
        await claim.complete("again")
    assert (await guard.begin(*CALL)).response == b"late"


async def test_how_a_claim_ended_is_counted_when_it_has(client: Any, prefix: str, monkeypatch: Any) -> None:
    metrics, clock, real = InMemoryMetrics(), VirtualClock(), client.evalsha
    async with Hub(client, key_prefix=prefix, clock=clock, metrics=metrics) as hub:
        await hub.preload()
        guard = IdempotencyGuard(hub, "pay", auto_renew=False)
        late = await claim_of(guard)
        clock.advance(30)
        claim = await claim_of(guard)

        async def gone(*args: Any) -> Any:
            raise redis.ConnectionError("gone")

        monkeypatch.setattr(client, "evalsha", gone)
        with pytest.raises(redis.ConnectionError):
            await claim.complete("done")
        assert not metrics.events("lock_hold_seconds"), "it is still held"
        monkeypatch.setattr(client, "evalsha", real)
        with pytest.raises(LeaseLost):
            await late.complete("late")
        await claim.complete("done")
        ends = [event.labels["outcome"] for event in metrics.events("lock_hold_seconds")]
    assert ends == ["lost", "released"]


async def test_fences_rise_with_the_attempts(timed: Any, clock: VirtualClock) -> None:
    guard, fences = timed(auto_renew=False), []
    for _ in range(3):
        fences.append((await claim_of(guard)).fence)
        clock.advance(30)
    assert fences == sorted(set(fences))


async def test_claims_are_renewed_together(hub: Hub, raw_client: Any, monkeypatch: Any) -> None:
    guard, real, renewed = IdempotencyGuard(hub, "pay", ttl=3), hub.client.evalsha, asyncio.Event()
    heartbeat, seen = script("idempotency.heartbeat").sha, set[bytes]()

    async def evalsha(sha: str, many: int, *args: Any) -> Any:
        reply = await real(sha, many, *args)
        if sha == heartbeat and many > 1:
            seen.update(args[:many])
            renewed.set()
        return reply

    await hub.preload()
    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    claims = await asyncio.gather(*(claim_of(guard, "t", str(n), "") for n in range(5)))
    await asyncio.wait_for(renewed.wait(), PATIENCE)
    fences = dict.fromkeys(claim.fence for claim in claims)
    for key in seen:
        end_us, fence = map(int, raw_client.hmget(key, "end_us", "fence"))
        assert fence in fences and end_us > fence + 3_000_000, "the fence is the time of its beginning"
    for claim in claims:
        await claim.complete("")


async def test_no_renewal_says_that_a_completed_claim_is_lost(hub: Hub, monkeypatch: Any) -> None:
    real, lost, hours = hub.client.evalsha, list[Claim](), 0
    monkeypatch.setattr(hub, "monotonic", lambda: time.monotonic() + 3600 * hours)
    guard = IdempotencyGuard(hub, "pay", cancel_on_lost=True, on_lost=lost.append)

    async def evalsha(sha: str, *args: Any) -> Any:
        nonlocal hours
        reply = await real(sha, *args)
        if sha == script("idempotency.complete").sha:  # the reply is late, and whoever looks after it looks
            hours = 1
            hub.part(Keeper)._look()
            for _ in range(10):
                await asyncio.sleep(0)
        return reply

    await hub.preload()
    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    async with await claim_of(guard) as claim:
        await claim.complete("done")
    assert not lost and not claim.lost.is_set()


async def test_the_work_is_cut_off_when_its_claim_is_lost(hub: Hub, raw_client: Any, prefix: str) -> None:
    guard, work = IdempotencyGuard(hub, "pay", ttl=1.5, cancel_on_lost=True), Work(held=True)
    worker = asyncio.create_task(guard.run(*CALL, work))
    await asyncio.wait_for(work.began.wait(), PATIENCE)
    raw_client.delete(*raw_client.scan_iter(f"{prefix}*"))
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(worker, PATIENCE)
    assert not work.done


@pytest.mark.embedded
async def test_a_bare_client_leaves_no_task_behind(client: Any) -> None:
    work, before, guard = Work(), asyncio.all_tasks(), IdempotencyGuard(client)
    assert await guard.run(*CALL, work) == b"receipt \xff 1"
    claim = await claim_of(guard, "t", "k", "")
    assert isinstance(await guard.begin("t", "k", "", wait=0.01), InProgress)
    await claim.abandon()
    while asyncio.all_tasks() != before:
        await asyncio.sleep(0)


async def test_it_is_forgotten_when_it_was_kept_long_enough(timed: Any, clock: VirtualClock) -> None:
    guard, work = timed(keep=60), Work()
    await guard.run(*CALL, work)
    clock.advance(59.999999)
    assert (await guard.begin(*CALL)).expires_in == 0.000001
    clock.advance(us=1)
    assert await guard.run(*CALL, work) == b"receipt \xff 2"


async def test_a_clock_that_steps(timed: Any, clock: VirtualClock) -> None:
    """Back: an attempt is under way for no longer than its lease. Forward: it is taken over, and that is marked."""
    guard = timed(auto_renew=False)
    await claim_of(guard)
    clock.advance(-3600)
    assert await guard.begin(*CALL) == InProgress(remaining=30)
    clock.advance(30)
    claim = await claim_of(guard)
    assert claim.unknown == 1
    clock.advance(86400)
    assert (await claim_of(guard)).unknown == 2
    clock.advance(86400 + 30)
    assert (await claim_of(guard)).unknown == 0, "a step over all the time that keys are kept for"


async def test_a_lost_record(guard: IdempotencyGuard, raw_client: Any, prefix: str) -> None:
    """The running worker hears of it, and its result is kept all the same, unless another has begun."""
    for begins_anew in (False, True):
        claim = await claim_of(guard)
        raw_client.delete(*raw_client.scan_iter(f"{prefix}*"))
        with pytest.raises(LeaseLost):
            await claim.renew()
        if begins_anew:
            other = await claim_of(guard)
            assert other.unknown == 0, "nothing is left that could say so"
            with pytest.raises(LeaseLost):
                await claim.complete("first")
            await other.complete("second")
        else:
            await claim.complete("first")
        seen = await guard.begin(*CALL)
        assert isinstance(seen, Replay) and seen.response == (b"second" if begins_anew else b"first")
        raw_client.delete(*raw_client.scan_iter(f"{prefix}*"))


async def test_tenants_and_guards_do_not_meet(hub: Hub) -> None:
    pairs = [("a", "b:c"), ("a:b", "c"), ("a", "b"), ("{a}", "b"), ("a}", "{b"), ("%7Ba%7D", "b"), ("\u00e9", "b")]
    pairs += [("e\u0301", "b"), ("\x00\n ", "\x7f"), ("rs1:{b}:idempotency:pay", "a"), ("a" * 2000, "b" * 255)]
    for name in ("pay", "a", "pay:a", "b"):
        guard = IdempotencyGuard(hub, name)
        for number, (tenant, key) in enumerate(pairs):
            await (await claim_of(guard, tenant, key, "")).complete(f"{name} {number}")
    for name in ("pay", "a", "pay:a", "b"):
        guard = IdempotencyGuard(hub, name)
        for number, (tenant, key) in enumerate(pairs):
            seen = await guard.begin(tenant, key, "")
            assert isinstance(seen, Replay) and seen.response == f"{name} {number}".encode()


class Bucket:
    """A result store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.broken = False

    async def put(self, name: str, data: bytes, ttl: float) -> None:
        if self.broken:
            raise OSError("no bucket")
        self.kept[name] = data, ttl

    async def get(self, name: str) -> bytes | None:
        return self.kept[name][0] if name in self.kept else None


async def test_large_results_are_refused(hub: Hub, caplog: Any) -> None:
    guard, large = IdempotencyGuard(hub, "pay", max_bytes=10), b"x" * 11
    async with await claim_of(guard) as claim:
        with pytest.raises(ArgumentError, match="response must be at most 10 bytes, not 11"):
            await claim.complete(large)
        await claim.complete("x" * 10)
    assert await guard.run(*CALL, lambda _: large) == b"x" * 10
    call = "tenant-7", "key-2", ""
    assert await guard.run(*call, lambda _: large) == large, "who did the work has its result"
    assert "not kept" in caplog.text
    seen = await guard.begin(*call)
    assert isinstance(seen, Replay) and seen.response is None
    with pytest.raises(IdempotencyConflict, match="done"):
        await guard.run(*call, lambda _: large)


async def test_large_results_are_kept_in_a_store(hub: Hub, caplog: Any) -> None:
    bucket, large = Bucket(), bytes(range(256)) * 3
    guard = IdempotencyGuard(hub, "pay", max_bytes=10, store=bucket, keep=60)
    assert await guard.run(*CALL, lambda _: large) == await guard.run(*CALL, lambda _: b"") == large
    ((name, (_, ttl)),) = bucket.kept.items()
    assert len(name) == 24 and ttl > 60
    bucket.kept.clear()
    seen = await guard.begin(*CALL)
    assert isinstance(seen, Replay) and seen.response is None, "gone from the store: done, and not to be done again"
    bucket.broken = True
    call = "tenant-7", "key-2", ""
    assert await guard.run(*call, lambda _: large) == large
    assert "768 bytes, is not kept: OSError" in caplog.text
    claim = await claim_of(guard, "tenant-7", "key-3", "")
    with pytest.raises(OSError, match="no bucket"):
        await claim.complete(large)
    await claim.complete(None)


@pytest.mark.parametrize("options", [{"decode_responses": True}, {"protocol": 2}, {"protocol": 3}])
async def test_clients_that_decode(connect: Any, prefix: str, options: dict[str, Any]) -> None:
    async with Hub(connect(**options), key_prefix=prefix) as hub:
        guard = IdempotencyGuard(hub)
        for n, result in enumerate([b"", b"\xff\x00", "é".encode(), bytes(range(256))]):
            call = "t", str(n), ""
            assert await guard.run(*call, lambda _, result=result: result) == await guard.run(*call, Work()) == result


async def test_what_is_no_result_is_an_outcome_nobody_knows(guard: IdempotencyGuard) -> None:
    with pytest.raises(ArgumentError, match="result of func"):
        await guard.run(*CALL, lambda _: 7)  # type: ignore[arg-type,return-value]
    assert (await claim_of(guard)).unknown == 1


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("tenant", ("", "k", "")), ("tenant", (7, "k", "")), ("key", ("t", "", "")), ("key", ("t", "x" * 256, "")),
        ("key", ("t", b"k", "")), ("key", ("t", "\ud800", "")), ("fingerprint", ("t", "k", 7)),
        ("fingerprint", ("t", "k", "\ud800")),
    ],
)  # fmt: skip
async def test_bad_calls(guard: IdempotencyGuard, raw_client: Any, argument: str, call: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        await guard.begin(*call)
    assert caught.value.argument == argument
    for bad in ("5", -1, float("nan")):
        with pytest.raises(ArgumentError, match="wait"):
            await guard.begin(*CALL, wait=bad)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="func"):
        await guard.run(*CALL, "no function")  # type: ignore[arg-type]
    assert not list(raw_client.scan_iter("*idempotency*"))


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""}, {"ttl": 0}, {"ttl": "1"}, {"keep": 0}, {"keep": 10**9}, {"max_bytes": -1}, {"max_bytes": 2**20},
        {"store": object()}, {"max_lifetime": -1}, {"on_lost": 5},
    ],
)  # fmt: skip
def test_bad_guards(options: dict[str, Any], sync_client: Any) -> None:
    (argument,) = options
    with pytest.raises(ArgumentError) as caught:
        riskscale.sync.IdempotencyGuard(sync_client, **options)
    assert caught.value.argument == argument


async def test_a_key_of_another_type(guard: IdempotencyGuard, raw_client: Any, hub: Hub) -> None:
    raw_client.set(f"{hub.root}:{{key-1}}:idempotency:pay:tenant-7", "something", px=60_000)
    with pytest.raises(StateError):
        await guard.run(*CALL, Work())


async def test_a_closing_hub_leaves_work_under_way_to_its_lease(client: Any, prefix: str) -> None:
    """It is not given to another at once: the work may go on for a while."""
    async with Hub(client, key_prefix=prefix) as hub:
        claim = await claim_of(IdempotencyGuard(hub, "pay"))
    assert claim.lost.is_set()
    async with Hub(client, key_prefix=prefix) as hub:
        seen = await IdempotencyGuard(hub, "pay").begin(*CALL)
        assert isinstance(seen, InProgress) and seen.remaining > 20


async def test_begins_are_counted(client: Any, prefix: str) -> None:
    counted: list[Any] = []

    class Metrics:
        def increment(self, name: str, value: float = 1, /, **labels: str) -> None:
            counted.append((name, labels["guard"], labels["outcome"]))

        def observe(self, name: str, value: float, /, **labels: str) -> None: ...
        def gauge(self, name: str, value: float, /, **labels: str) -> None: ...

    async with Hub(client, key_prefix=prefix, metrics=Metrics()) as hub:
        guard = IdempotencyGuard(hub, "pay")
        async with await claim_of(guard) as claim:
            await guard.begin(*CALL)
            await claim.complete("")
        await guard.begin(*CALL)
        await guard.begin(*CALL[:2], "else")
    outcomes = ["new", "in_progress", "replay", "mismatch"]
    assert counted == [("idempotency_begins", "pay", outcome) for outcome in outcomes]


def test_threads(sync_hub: riskscale.sync.Hub) -> None:
    guard = riskscale.sync.IdempotencyGuard(sync_hub, "pay", max_bytes=100)

    def fails(claim: riskscale.sync.Claim) -> bytes:
        raise OSError

    def stopped(claim: riskscale.sync.Claim) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(OSError):  # noqa: PT011 - its own
        guard.run(*CALL, fails)
    with pytest.raises(KeyboardInterrupt):
        guard.run(*CALL, stopped)
    seen = []
    assert guard.run(*CALL, lambda claim: seen.append(claim.unknown) or b"\xff") == b"\xff"
    assert guard.run(*CALL, fails) == b"\xff" and seen == [1]
    claim = guard.begin("t", "k", "")
    assert isinstance(claim, riskscale.sync.Claim)
    assert isinstance(guard.begin("t", "k", "", wait=0.01), InProgress)
    with claim:
        with pytest.raises(ArgumentError):
            claim.complete("x" * 101)
        claim.complete(None)
    with pytest.raises(IdempotencyConflict):
        guard.run("t", "k", "", fails)
    assert guard.run("t", "large", "", lambda _: "x" * 101) == b"x" * 101


def test_a_client_of_the_other_kind(client: Any, sync_client: Any) -> None:
    with pytest.raises(ArgumentError, match=r"riskscale\.sync"):
        IdempotencyGuard(sync_client)
    with pytest.raises(ArgumentError, match="use riskscale"):
        riskscale.sync.IdempotencyGuard(client)


async def test_the_clients_errors_are_its_own(hub: Hub, monkeypatch: Any) -> None:
    async def evalsha(*args: Any) -> Any:
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    work = Work()
    with pytest.raises(redis.ConnectionError):
        await IdempotencyGuard(hub).run(*CALL, work)
    assert not work.unknown, "without an answer nothing is begun"
