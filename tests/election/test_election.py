"""Elections: one leader, rising terms, resigning, losing, an outage; with threads too."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis

import riskscale.sync
from riskscale import ArgumentError, Election, Hub, Lock, StateError

SOON = 10.0


async def test_terms_rise_and_pass_from_one_to_the_next(hub: Hub) -> None:
    leaders: list[str] = []
    terms: list[int] = []

    async def run(name: str) -> None:
        election = Election(hub, "scheduler", ttl=30)
        async for term in election.terms():
            assert election.term is term and (await election.leader()).fence == term.fence
            leaders.append(name)
            terms.append(term.fence)
            if leaders.count(name) == 3:
                break
        assert election.term is None or await election.resign() is None

    await asyncio.wait_for(asyncio.gather(*(run(name) for name in "abc")), SOON)
    assert terms == sorted(set(terms)) and len(terms) == 9
    assert not (await Election(hub, "scheduler", ttl=30).leader()).held


async def test_who_resigns_tells_its_own_term(hub: Hub) -> None:
    elected: list[Any] = []
    election = Election(hub, "scheduler", ttl=30, on_elected=elected.append)
    led = asyncio.Event()

    async def run() -> None:
        async for term in election.terms():
            led.set()
            await term.lost.wait()
            break

    task = asyncio.create_task(run())
    await led.wait()
    await election.resign()
    await asyncio.wait_for(task, SOON)
    assert len(elected) == 1 and election.term is None
    assert not (await election.leader()).held
    await election.resign()


async def test_a_lost_term_is_followed_by_another(hub: Hub, raw_client: Any, prefix: str) -> None:
    lost: list[int] = []
    election = Election(hub, "scheduler", ttl=0.3, on_lost=lambda term: lost.append(term.fence))
    terms = []
    async for term in election.terms():
        terms.append(term.fence)
        if len(terms) == 2:
            break
        raw_client.delete(f"{prefix}rs1:{{scheduler}}:election")
        await asyncio.wait_for(term.lost.wait(), SOON)
    assert lost == terms[:1] and terms[1] > terms[0]


async def test_an_election_is_not_a_lock_of_that_name(hub: Hub) -> None:
    async with Lock(hub, "scheduler", ttl=30):
        async for term in Election(hub, "scheduler", ttl=30).terms():
            assert term.name == "scheduler"
            break


async def test_the_end_of_the_hub_ends_it(hub: Hub) -> None:
    leader, candidate = Election(hub, "scheduler", ttl=30), Election(hub, "scheduler", ttl=30)
    leading = asyncio.Event()

    async def lead() -> None:
        async for term in leader.terms():
            leading.set()
            await term.lost.wait()

    async def run() -> list[Any]:
        return [term async for term in candidate.terms()]

    tasks = [asyncio.create_task(lead())]
    await leading.wait()
    tasks.append(asyncio.create_task(run()))
    while not (await leader.leader()).waiting:
        await asyncio.sleep(0)
    await hub.aclose()
    await asyncio.wait_for(asyncio.gather(*tasks), SOON)
    assert leader.term is None


async def test_an_outage_is_waited_for(hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    real, failures = hub.client.evalsha, 3

    async def evalsha(*args: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise redis.ConnectionError("gone")
        return await real(*args)

    monkeypatch.setattr(hub.client, "evalsha", evalsha)
    async for _ in Election(hub, "scheduler", ttl=0.2).terms():
        break
    assert not failures and "no election of 'scheduler' (ConnectionError)" in caplog.text


async def test_a_poisoned_key_is_not(hub: Hub, raw_client: Any, prefix: str) -> None:
    raw_client.set(f"{prefix}rs1:{{scheduler}}:election", "x", ex=100)
    with pytest.raises(StateError):
        async for _ in Election(hub, "scheduler", ttl=1).terms():
            pass


def test_bad_callbacks_are_named(client: Any) -> None:
    with pytest.raises(ArgumentError, match="on_elected"):
        Election(client, "scheduler", ttl=1, on_elected="me")  # type: ignore[arg-type]


def test_threads_elect_too(sync_client: Any, prefix: str) -> None:
    terms: list[int] = []
    with riskscale.sync.Hub(sync_client, key_prefix=prefix) as hub:

        def run() -> None:
            election = riskscale.sync.Election(hub, "scheduler", ttl=30)
            for many, term in enumerate(election.terms()):
                assert election.term is term
                terms.append(term.fence)
                if many == 1:
                    break
            election.resign()

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert terms == sorted(set(terms)) and len(terms) == 6
        assert not riskscale.sync.Election(hub, "scheduler", ttl=30).leader().held
