"""``riskscale locks``: what it shows, and what a forced release does to a holder, to its writes and to the next one."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis.asyncio

import riskscale
from riskscale import LeaseLost, StaleFence
from riskscale.sync import Election, Guard, Hub, Lock
from tests.backends import ServerBackend
from tests.cli.command import json_line, start, url_of

HOSTILE = "a:{b}\x1b[2J\n%é"
Run = Callable[..., Any]
pytestmark = pytest.mark.server


@pytest.fixture
def hub(admin_hub: Hub) -> Hub:
    return admin_hub


@pytest.fixture
def locks(backend: ServerBackend, prefix: str, run: Run) -> Run:
    def call(verb: str, *words: object) -> Any:
        return run("locks", verb, *words, "--redis", backend.url, "--key-prefix", prefix)

    return call


def test_list(hub: Hub, locks: Run) -> None:
    assert json_line(locks("list", "--json").out) == {"locks": []}
    Lock(hub, "free", ttl=60).hold().__enter__().release()
    held = Lock(hub, HOSTILE, ttl=60, tag="t", metadata={"host": "\x1b[31m"}).acquire()
    terms = Election(hub, "free", ttl=60).terms()
    leads = next(terms)
    hub.client.set(f"{hub.root}:{{x}}y:lock", "no lock of ours", ex=60)
    assert held is not None

    found = json_line(locks("list", "--json").out)["locks"]
    assert [(each["name"], each["tag"], each["kind"]) for each in found] == [
        (HOSTILE, "t", "lock"),
        ("free", None, "election"),
    ]
    assert found[0]["fence"] == held.fence and found[1]["fence"] == leads.fence
    assert json.loads(found[0]["metadata"]) == {"host": "\x1b[31m"} and 50 < found[0]["remaining"] <= 60
    every = json_line(locks("list", "--json", "--all").out)["locks"]
    assert [each["held"] for each in every] == [True, True, False]

    shown = locks("list")
    assert shown.code == 0 and "\x1b" not in shown.out and str(held.fence) in shown.out
    assert held.token not in shown.out + str(found)
    terms.close()


def test_a_foreign_key_hides_no_lock(hub: Hub, locks: Run) -> None:
    with Lock(hub, "job", ttl=60) as lease:
        hub.client.set(f"{hub.key(HOSTILE)}:lock", "text", ex=60)
        for as_json in ((), ("--json",)):
            seen = locks("list", *as_json)
            assert seen.code == 0 and str(lease.fence) in seen.out and "another type" not in seen.out
            assert seen.err.count("\n") == 1 and "1 name has keys of another type" in seen.err
            assert "\x1b" not in seen.err
        hub.client.zadd(f"{hub.key('other')}:lock", {"a": 1})
        hub.client.expire(f"{hub.key('other')}:lock", 60)
        assert "2 names have keys" in locks("list").err
    for verb in (("show", "other"), ("release", "other", "--force", "--yes")):
        seen = locks(*verb)
        assert seen.code == 2 and seen.err.count("\n") == 1 and "another type" in seen.err


def test_no_name_or_metadata_looks_like_another_row(hub: Hub, locks: Run) -> None:
    rows = locks("list").out.count("\n")
    with Lock(hub, "a\nb", ttl=60, tag="c\nd", metadata="e\nf\u202e, fence 1"):
        seen = locks("list")
        assert seen.out.count("\n") == rows + 1 and "\u202e" not in seen.out
        for text in ("a\\nb", "c\\nd", "e\\nf\\u202e"):
            assert text in seen.out
        assert locks("show", "a\nb", "--tag", "c\nd").out.endswith(", metadata e\\nf\\u202e, fence 1\n")


@pytest.mark.owns_server
def test_the_smallest_user_may_show_and_release(hub: Hub, run: Run, backend: ServerBackend, prefix: str) -> None:
    server = ("--redis", url_of(backend), "--key-prefix", prefix)
    lease = Lock(hub, "job", ttl=60).acquire()
    assert lease is not None and run("locks", "show", "job", *server).code == 0
    refused = run("locks", "list", *server)
    assert refused.code == 2 and refused.err.count("\n") == 1 and "+scan" in refused.err
    assert run("locks", "release", "job", "--force", "--yes", *server).code == 0
    with pytest.raises(LeaseLost):
        lease.release()


def test_show(hub: Hub, locks: Run) -> None:
    nothing = locks("show", HOSTILE)
    assert nothing.code == 1 and "free" in nothing.out and "\x1b" not in nothing.out
    lock = Lock(hub, HOSTILE, ttl=60, metadata="host 7\n\x07")
    one, two = lock.acquire(owner="me"), lock.acquire(owner="me")
    assert one is not None and two is not None
    hub.client.zadd(f"{hub.key(HOSTILE)}:queue", {"w": 10**15})
    hub.client.hset(f"{hub.key(HOSTILE)}:wait", "w", "0|")
    for role in ("queue", "wait"):
        hub.client.expire(f"{hub.key(HOSTILE)}:{role}", 60)
    seen = locks("show", HOSTILE)
    assert seen.code == 0 and f"fence {one.fence}" in seen.out and "2 holds" in seen.out and "host 7\\n" in seen.out
    assert "0: waits" in seen.out and "dead" in seen.out and one.token not in seen.out
    assert "\x1b" not in seen.out and "\x07" not in seen.out and seen.out.count("\n") == 2
    found = json_line(locks("show", HOSTILE, "--json").out)
    assert found["holds"] == 2 and found["waiting"] == 1 and found["waiters"][0]["alive"] == 0
    assert locks("show", HOSTILE, "--election").code == 1
    assert locks("show", HOSTILE, "--tag", "t").code == 1


def test_release_needs_force_and_an_answer(hub: Hub, locks: Run, backend: ServerBackend, prefix: str) -> None:
    lease = Lock(hub, "job", ttl=60).acquire()
    assert lease is not None
    refused = locks("release", "job")
    assert refused.code == 2 and refused.err.count("\n") == 1 and "--force" in refused.err and not refused.out
    words = ("locks", "release", "job", "--force", "--redis", backend.url, "--key-prefix", prefix)
    for answer, code in ((b"n\n", 1), (b"", 2)):
        done = start(*words, stdin=subprocess.PIPE)
        out, err = done.communicate(answer, timeout=60)
        assert done.returncode == code, err
        assert f"fence {lease.fence}".encode() in out and err.count(b"\n") == (code == 2)
    other = locks("release", "job", "--force", "--yes", "--fence", lease.fence - 1)
    assert other.code == 1 and "nothing changed" in other.out
    lease.renew()
    lease.release()
    free = locks("release", "job", "--force", "--yes")
    assert free.code == 1 and "free" in free.out
    for fence in ("0", "-1", "x", str(2**53)):
        wrong = locks("release", "job", "--force", "--fence", fence)
        assert wrong.code == 2 and wrong.err.count("\n") == 1


def test_ctrl_c_at_the_question_changes_nothing(hub: Hub, backend: ServerBackend, prefix: str) -> None:
    lease = Lock(hub, "job", ttl=60).acquire()
    assert lease is not None
    words = ("locks", "release", "job", "--force", "--redis", backend.url, "--key-prefix", prefix)
    asking, shown = start(*words, stdin=subprocess.PIPE), b""
    assert asking.stdout is not None
    while not shown.endswith(b"[y/N]: "):
        shown += asking.stdout.read(1)
    while asking.poll() is None:  # again where it came just before the read; no end of input, another answer, before it
        asking.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            asking.wait(2)
    _, err = asking.communicate()
    assert (asking.returncode, err) == (130, b"riskscale: interrupted\n")
    lease.release()


def test_the_next_holder_is_not_hit(hub: Hub, locks: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock(hub, "job", ttl=60)
    leases = [lock.acquire()]

    def think(_: str) -> bool:
        """While the operator thinks about it the lock changes hands."""
        leases[0].release()
        leases.append(lock.acquire())
        return True

    monkeypatch.setattr("typer.confirm", think)
    late = locks("release", "job", "--force")
    assert late.code == 1 and f"the fence {leases[0].fence} does not hold it any more" in late.out
    leases[1].renew()
    leases[1].release()


def test_a_forced_release_of_which_nobody_hears(hub: Hub, locks: Run) -> None:
    lease = Lock(hub, "job", ttl=60, metadata="host 7").acquire()
    assert lease is not None and "nobody listened" in locks("release", "job", "--force", "--yes").out
    for act in (lease.renew, lease.release):
        with pytest.raises(LeaseLost):
            act()
    info = Lock(hub, "job", ttl=60).inspect()
    assert not info.held and info.metadata == "" and info.fence > lease.fence


def test_the_holder_hears_of_it_and_is_shut_out(hub: Hub, locks: Run) -> None:
    lock, guard = Lock(hub, "job", ttl=3600), Guard(hub, "job")
    lease = lock.acquire()
    assert lease is not None
    guard.write("mine", fence=lease.fence, ttl=60)
    lost = lease.lost
    while not hub.mailbox.channel:  # the subscription is confirmed
        lost.wait(0.01)
    done = locks("release", "job", "--force", "--yes", "--fence", lease.fence)
    assert done.code == 0 and "released, 1 process listened" in done.out
    assert lost.wait(30), "it was not told"
    for act in (lease.renew, lease.release):
        with pytest.raises(LeaseLost):
            act()
    with lock as newer:
        assert newer.fence > lease.fence
        guard.read(fence=newer.fence)
        with pytest.raises(StaleFence):
            guard.write("late", fence=lease.fence)
    hub.client.delete(guard.key, *hub.client.keys(f"{hub.root}:{{job}}:fence"))


async def test_the_next_waiter_gets_it(backend: ServerBackend, prefix: str, locks: Run) -> None:
    client = redis.asyncio.Redis.from_url(backend.url)
    async with riskscale.Hub(client, key_prefix=prefix) as hub:
        lock = riskscale.Lock(hub, "job", ttl=3600, on_lost=(heard := []).append)
        lease = await lock.acquire()
        waiting = asyncio.create_task(riskscale.Lock(hub, "job", ttl=60).acquire())
        while (await lock.inspect()).waiting == 0 or not hub.mailbox.channel:
            await asyncio.sleep(0.001)
        done = await asyncio.to_thread(locks, "release", "job", "--force", "--yes")
        assert done.code == 0, done
        newer = await asyncio.wait_for(waiting, 30)
        await asyncio.wait_for(lease.lost.wait(), 30)
        assert newer.fence > lease.fence and heard == [lease]
        with pytest.raises(LeaseLost):
            await lease.release()
        assert (await lock.inspect()).fence == newer.fence, "the late release took nothing from the next holder"
        await newer.release()
    await client.aclose()


def test_bad_input_is_one_line(run: Run, locks: Run) -> None:
    for words in (("show", ""), ("show", "\udcff"), ("show", "a", "--tag", ""), ("release", "", "--force", "--yes")):
        outcome = locks(*words)
        assert outcome.code == 2 and not outcome.out and outcome.err.count("\n") == 1, words
    for words in (
        ("list",),
        ("list", "--redis", "http://x"),
        ("show", "--redis", "redis://127.0.0.1:1"),
        ("show", "a", "--redis", "redis://127.0.0.1:1"),
        ("release", "a", "--force", "--yes", "--redis", "redis://127.0.0.1:1"),
    ):
        outcome = run("locks", *words)
        assert outcome.code == 2 and outcome.err.count("\n") == 1 and "Traceback" not in outcome.err, words
