"""``riskscale demo``: embedded, and with processes of which one is killed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from riskscale import Hub, Lease
from riskscale.cli import demo, replica
from riskscale.cli.events import End, Event, Start
from riskscale.cli.invariants import Check
from riskscale.cli.replica import Work, first_line, work_of
from tests.backends import ServerBackend
from tests.cli.command import json_line, start, url_of


def assert_sound(result: Any, replicas: int) -> None:
    assert result["ok"] is True
    assert [check["ok"] for check in result["invariants"]] == [True] * 7
    assert (result["replicas"], result["killed"]["replica"]) == (replicas, replicas)
    assert result["asked"] > result["admitted"] > 0
    assert result["runs"] > replicas
    assert (result["breaker"]["failures"], result["breaker"]["probes"]) == (3, 1)
    assert result["taken_over_after_seconds"] >= Work(prefix="").ttl


def test_embedded(run: Callable[..., Any]) -> None:
    code, out, err = run("demo", "--replicas", 3, "--seconds", 1, "--json")
    assert (code, err) == (0, "")
    result = json_line(out)
    assert_sound(result, 3)
    assert result["killed"]["how"] == "its task was abandoned"


@pytest.mark.server
def test_processes(run: Callable[..., Any], backend: ServerBackend, prefix: str) -> None:
    words = ("demo", "--replicas", 3, "--seconds", 1, "--redis", url_of(backend), "--key-prefix", prefix)
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    result = json_line(out)
    assert_sound(result, 3)
    assert result["killed"]["how"].startswith("SIGKILL of process")
    assert not list(backend.admin.scan_iter(f"{prefix}*"))


@pytest.mark.server
def test_interrupted_it_ends_its_replicas_and_removes_its_keys(backend: ServerBackend, prefix: str) -> None:
    words = ("demo", "--seconds", 600, "--redis", url_of(backend), "--key-prefix", prefix)
    with start(*words, start_new_session=True) as process:
        while not list(backend.admin.scan_iter(f"{prefix}*rate*")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)  # ends when the last replica has closed its copy of the pipes
    assert (process.returncode, out, err) == (130, b"", b"riskscale: interrupted\n")
    assert not list(backend.admin.scan_iter(f"{prefix}*"))


def test_a_broken_invariant_is_exit_code_1(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "fences_rise", lambda runs: Check("fences strictly rising", False, "3 came after 4"))
    code, out, _ = run("demo", "--replicas", 2, "--seconds", 1)
    assert code == 1
    assert "BROKEN fences strictly rising: 3 came after 4" in out


@pytest.mark.server
@pytest.mark.owns_server
def test_a_server_that_dies_is_one_line(scratch_server: Any) -> None:
    with start("demo", "--seconds", 600, "--redis", scratch_server.url) as process:
        with redis.Redis.from_url(scratch_server.url) as client:
            while not client.dbsize():
                assert process.poll() is None
        scratch_server.kill()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1)
    assert err.startswith(b"riskscale: replica ")


def test_work_travels() -> None:

    work = Work(prefix="p:", url="redis://user:pass@localhost")
    number, words = json.loads(first_line(3, work))
    assert (number, work_of(words)) == (3, work)


async def test_a_release_under_way_is_known_before_the_replica_ends(hub: Hub, prefix: str) -> None:
    """Else the parent would take its workflow for running until the end of the lease, and the next run for a second."""
    events: list[Event] = []
    finishing, ending = asyncio.Event(), asyncio.Event()

    async def orders() -> AsyncIterator[str]:
        await finishing.wait()
        for order in ():
            yield order

    class Slow(replica.Replica):
        async def _finish(self, workflow: str, lease: Lease) -> None:
            finishing.set()
            await ending.wait()
            await super()._finish(workflow, lease)

        async def _end(self, tasks: set[asyncio.Task[None]]) -> None:
            ending.set()
            await super()._end(tasks)

    await Slow(hub, 1, Work(prefix=prefix), events.append).run(orders())
    begun = {event.workflow for event in events if isinstance(event, Start)}
    assert begun
    assert begun == {event.workflow for event in events if isinstance(event, End) and event.at_us}
