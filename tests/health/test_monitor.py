"""The monitor as its users meet it, in tasks and in threads."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import threading
from contextlib import closing
from typing import Any

import pytest

import riskscale.sync
from riskscale import ArgumentError, HealthMonitor, HealthStatus, Observation, StateError
from tests.health.conftest import Asked, until

PASS, WARN, FAIL = HealthStatus


class Refused(Exception):
    """What a dependency says."""


def fine() -> None:
    """Nothing to say."""


def broken() -> None:
    raise Refused("postgres://admin:hunter2@db/prod refused")


async def test_nothing_to_check_is_well(asked: Asked) -> None:
    report = await asked.health(asked.monitor())
    assert (report.status, report.checks, report.http_status) == (PASS, (), 200)


@pytest.mark.parametrize(
    ("critical", "whole", "code"),
    [pytest.param(True, FAIL, 503, id="critical"), pytest.param(False, WARN, 200, id="not")],
)
async def test_a_failure_is_the_services_or_a_warning(asked: Asked, critical: bool, whole: str, code: int) -> None:
    monitor = asked.monitor()
    monitor.add_check("a", fine)
    monitor.add_check("b", broken, critical=critical)
    monitor.add_check("c", lambda: Observation(status="warn"))
    report = await asked.health(monitor)
    assert (report.status, report.http_status) == (whole, code)
    assert [(check.name, check.status) for check in report.checks] == [("a", PASS), ("b", FAIL), ("c", WARN)]


@pytest.mark.parametrize(
    ("result", "status", "output"),
    [
        (None, PASS, ""),
        (True, PASS, ""),
        ("PONG", PASS, ""),
        (1, PASS, ""),
        (False, FAIL, "it returned False"),
        ("fail", FAIL, ""),
        (HealthStatus.WARN, WARN, ""),
        (Observation(status=FAIL, output="40 s behind"), FAIL, "40 s behind"),
    ],
)
async def test_what_a_check_may_return(asked: Asked, result: Any, status: str, output: str) -> None:
    monitor = asked.monitor()
    monitor.add_check("it", lambda: result)
    (check,) = (await asked.health(monitor)).checks
    assert (check.status, check.output, check.measurement, check.unit) == (status, output, "responseTime", "ms")
    assert 0 <= check.value < 1000


async def test_an_exception_is_told_by_its_class(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    monitor = asked.monitor()
    monitor.add_check("db", broken)
    with caplog.at_level(logging.DEBUG, "riskscale"):
        report = await asked.health(monitor)
    (check,) = report.checks
    assert (check.status, check.output) == (FAIL, "Refused")
    assert b"hunter2" not in report.as_json() and "hunter2" not in repr(report) + repr(monitor) + caplog.text
    assert "health check 'db': pass -> fail ('Refused')" in caplog.text


async def test_a_change_is_logged_once(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    results, monitor = [False, False, True, True], asked.monitor(cache_seconds=0)
    monitor.add_check("db", lambda: results.pop(0))
    with caplog.at_level(logging.INFO, "riskscale.health"):
        for _ in range(4):
            await asked.health(monitor)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_one_that_hangs_does_not_hang_the_report_and_is_not_begun_again(asked: Asked) -> None:
    monitor, slow = asked.monitor(cache_seconds=0), asked.slow()
    monitor.add_check("hangs", slow, timeout=0.02)
    monitor.add_check("answers", fine, timeout=3600)
    for _ in range(3):
        hangs, answers = (await asked.health(monitor)).checks
        assert (hangs.status, hangs.output, answers.status) == (FAIL, "no answer within 0.02 s", PASS)
    assert slow.calls == 1
    slow.end()
    while (await asked.health(monitor)).status is not PASS:
        await asyncio.sleep(0.001)
    assert slow.calls > 1


async def test_a_check_that_can_be_cancelled_is() -> None:
    ends, monitor = [], HealthMonitor(cache_seconds=0)

    async def check() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    monitor.add_check("it", check, timeout=0.01)
    for calls in (1, 2):
        assert (await monitor.system_health()).checks[0].output == "no answer within 0.01 s"
        await until(lambda calls=calls: len(ends) == calls)


async def test_all_are_asked_at_once(asked: Asked) -> None:
    monitor, slow = asked.monitor(), [asked.slow() for _ in range(5)]
    for number, check in enumerate(slow):
        monitor.add_check(str(number), check, timeout=30)
    asking = asyncio.create_task(asked.health(monitor))
    await until(lambda: all(check.began.is_set() for check in slow))
    for check in slow:
        check.end()
    assert (await asking).status is PASS


async def test_those_who_ask_together_share_one_answer_and_one_that_is_cancelled_disturbs_nobody() -> None:
    monitor, slow = HealthMonitor(), Asked("asyncio").slow()
    monitor.add_check("it", slow, timeout=30)
    first, *others = [asyncio.create_task(monitor.system_health()) for _ in range(50)]
    await until(slow.began.is_set)
    first.cancel()
    assert (await asyncio.gather(first, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    slow.end()
    assert {report.status for report in await asyncio.gather(*others)} == {PASS}
    assert slow.calls == 1


async def test_threads_that_ask_together_share_one_answer() -> None:
    asked = Asked("threads")
    monitor, slow = asked.monitor(), asked.slow()
    monitor.add_check("it", slow, timeout=30)
    asking = [asyncio.create_task(asked.health(monitor)) for _ in range(4)]
    await until(slow.began.is_set)
    slow.end()
    assert {report.status for report in await asyncio.gather(*asking)} == {PASS}
    assert slow.calls == 1


@pytest.mark.parametrize(("cache", "calls"), [(3600, 1), (0, 4)])
async def test_what_was_found_is_told_again_for_a_moment(asked: Asked, cache: float, calls: int) -> None:
    seen: list[int] = []
    monitor = asked.monitor(cache_seconds=cache)
    monitor.add_check("it", lambda: seen.append(1), groups=("live", "ready"))
    reports = [await asked.health(monitor, group) for group in (None, "live", "ready", "ready")]
    assert len(seen) == calls
    assert len({report.checks[0].at for report in reports}) == calls


async def test_groups(asked: Asked) -> None:
    monitor = asked.monitor()
    monitor.add_check("loop", fine, groups=("live",))
    monitor.add_check("db", broken)
    monitor.add_check("warm", fine, groups=("startup", "ready"))
    assert monitor.groups == {"live", "ready", "startup"}
    found = {group: await asked.health(monitor, group) for group in ("live", "ready", "startup", None)}
    assert {group: [check.name for check in report.checks] for group, report in found.items()} == {
        "live": ["loop"],
        "ready": ["db", "warm"],
        "startup": ["warm"],
        None: ["loop", "db", "warm"],
    }
    assert [report.status for report in found.values()] == [PASS, FAIL, PASS, FAIL]
    assert found["live"].group == "live"
    with pytest.raises(ArgumentError, match=r"^group must be one of live, ready, startup, not 'reday'"):
        await asked.health(monitor, "reday")
    with pytest.raises(ArgumentError, match=r"^group "):
        await asked.health(monitor, ["ready"])  # type: ignore[arg-type]


async def test_bad_input(asked: Asked) -> None:
    monitor = asked.monitor()
    monitor.add_check("db", fine)
    for options, argument in [
        ({"name": "db"}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"check": "redis://:hunter2@db"}, "check"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"critical": "no"}, "critical"),
        ({"groups": "ready"}, "groups"),
        ({"groups": 7}, "groups"),
        ({"groups": ()}, "groups"),
        ({"groups": ("ready", "")}, "groups"),
    ]:
        with pytest.raises(ArgumentError) as raised:
            monitor.add_check(**{"name": "new", "check": fine} | options)
        assert raised.value.argument == argument and "hunter2" not in str(raised.value), options
    for method, argument in ((monitor.add_breaker, "breaker"), (monitor.add_bulkhead, "bulkhead")):
        with pytest.raises(ArgumentError) as raised:
            method(object())
        assert raised.value.argument == argument
    with pytest.raises(ArgumentError, match="cache_seconds"):
        asked.monitor(cache_seconds=-1)
    assert [check.name for check in (await asked.health(monitor)).checks] == ["db"]


@pytest.mark.parametrize(
    "said",
    [
        {"status": "bad"},
        {"output": None},
        {"value": 1},
        {"measurement": "lag"},
        {"measurement": "lag", "value": float("nan")},
        {"measurement": "lag", "value": {1, 2}},
    ],
)
def test_an_observation_that_says_nothing(said: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        Observation(**said)


async def test_a_check_that_gives_something_to_await_is_not_for_threads() -> None:
    monitor = riskscale.sync.HealthMonitor()

    async def check() -> None:
        """Never runs."""

    with pytest.raises(ArgumentError, match=r"riskscale\.HealthMonitor"):
        monitor.add_check("it", check)
    monitor.add_check("it", lambda: check())  # noqa: PLW0108 - it does not look like one
    (found,) = (await asyncio.to_thread(monitor.system_health)).checks
    assert found.status is FAIL and "riskscale.HealthMonitor" in found.output


def test_no_thread_can_be_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monitor = riskscale.sync.HealthMonitor(cache_seconds=0)
    monitor.add_check("it", fine)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert [check.output for check in monitor.system_health().checks] == ["RuntimeError"]
    assert monitor.system_health().status is PASS


async def test_the_tasks_of_checks_may_be_cancelled_by_anybody() -> None:
    monitor, slow = HealthMonitor(cache_seconds=0), Asked("asyncio").slow()
    monitor.add_check("it", slow, timeout=30)
    before = asyncio.all_tasks()
    asking = asyncio.create_task(monitor.system_health())
    await asyncio.sleep(0)  # the check's task is there, and has not taken its first step
    for task in asyncio.all_tasks() - before - {asking}:
        task.cancel()
    assert [check.output for check in (await asking).checks] == ["CancelledError"]
    slow.end()
    assert (await monitor.system_health()).status is PASS


def test_one_loop_after_another() -> None:
    monitor, slow = HealthMonitor(cache_seconds=0), Asked("asyncio").slow()
    monitor.add_check("it", slow, timeout=0.01)

    async def status() -> HealthStatus:
        return (await monitor.system_health()).status

    with closing(asyncio.new_event_loop()) as first, asyncio.Runner() as second:
        assert first.run_until_complete(status()) is FAIL
        with pytest.raises(StateError, match="another event loop"):
            second.run(status())
    slow.end()
    while asyncio.run(status()) is not PASS:
        pass
    gc.collect()  # what the first loop left behind is complained about here, and not in some other test


def test_a_fork_leaves_a_hanging_check_behind() -> None:
    program = """if True:
        import os, threading, riskscale.sync
        here, end = os.getpid(), threading.Event()
        monitor = riskscale.sync.HealthMonitor(cache_seconds=0)
        monitor.add_check("it", lambda: end.wait() if os.getpid() == here else None, timeout=0.05)
        print(monitor.system_health().status, flush=True)
        child = os.fork()
        if not child:
            while monitor.system_health().status != "pass":
                pass
            print("pass", flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        end.set()
    """
    command = [sys.executable, "-W", "ignore", "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "fail\npass\n"


class Quiet(Exception):
    """One that is empty, and so false."""

    def __len__(self) -> int:
        return 0


async def test_an_exception_that_is_false_is_one(asked: Asked) -> None:
    def check() -> None:
        raise Quiet

    monitor = asked.monitor()
    monitor.add_check("it", check)
    assert [each.output for each in (await asked.health(monitor)).checks] == ["Quiet"]


async def test_a_value_is_told_as_it_was_seen(asked: Asked) -> None:
    """A check may hand out what it goes on writing to, in a thread too; a report must not fail, or lie, by that."""
    queues: dict[str, Any] = {"orders": 1}
    monitor = asked.monitor(cache_seconds=3600)
    monitor.add_check("it", lambda: Observation(measurement="queues", value=queues))
    report = await asked.health(monitor)
    queues["orders"] = object()
    assert report.checks[0].value == {"orders": 1} and b'"observedValue":{"orders":1}' in report.as_json()


def test_as_the_draft_says(asked: Asked) -> None:
    monitor = asked.monitor()
    monitor.add_check("a:b%", fine)
    lag = Observation(status=WARN, output="late", measurement="lag:p99", value=4.5, unit="s")
    monitor.add_check("replica", lambda: lag)
    report = asyncio.run(asked.health(monitor))
    told = json.loads(report.as_json())
    assert told == report.as_dict()
    assert told["status"] == "warn" and list(told["checks"]) == ["a%3Ab%25:responseTime", "replica:lag%3Ap99"]
    ((first,), (second,)) = told["checks"].values()
    assert "output" not in first and first["observedUnit"] == "ms"
    assert second.pop("time").endswith("Z")
    assert second == {
        "componentType": "component",
        "status": "warn",
        "critical": True,
        "observedValue": 4.5,
        "observedUnit": "s",
        "output": "late",
    }
