"""``riskscale breakers``: what it shows, and what replicas make of a change by hand."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis

from riskscale import BreakerPolicy, BreakerState, CircuitOpen
from riskscale.breaker.admin import breakers_channel
from riskscale.cli import server
from riskscale.sync import CircuitBreaker, Hub
from tests.backends import ServerBackend
from tests.cli.command import json_line, start, url_of

HOSTILE = "a:{b}\x1b[2J\n%é"
POLICY = BreakerPolicy(consecutive_failures=3, refresh_seconds=3600)
Run = Callable[..., Any]
pytestmark = pytest.mark.server


@pytest.fixture
def hub(admin_hub: Hub) -> Hub:
    return admin_hub


@pytest.fixture
def breakers(backend: ServerBackend, prefix: str, run: Run) -> Run:
    def call(verb: str, *words: object) -> Any:
        return run("breakers", verb, *words, "--redis", url_of(backend), "--key-prefix", prefix)

    return call


@pytest.fixture
def listing(backend: ServerBackend, prefix: str, run: Run) -> Run:
    """The same as a user who may SCAN."""

    def call(*words: object) -> Any:
        return run("breakers", "list", *words, "--redis", backend.url, "--key-prefix", prefix)

    return call


def used(hub: Hub, name: str) -> CircuitBreaker:
    breaker = CircuitBreaker(name=name, policy=POLICY, redis=hub)
    breaker.call(str)
    return breaker


def fail() -> None:
    raise ConnectionRefusedError


def tripped(hub: Hub, name: str) -> CircuitBreaker:
    """By its calls, and the server knows."""
    breaker = used(hub, name)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            breaker.call(fail)
    while breaker.inspect().state is not BreakerState.OPEN:
        pass
    return breaker


def test_list(hub: Hub, listing: Run) -> None:
    assert json_line(listing("--json").out) == {"breakers": []}
    used(hub, "quiet")
    tripped(hub, HOSTILE)
    hub.client.set(f"{hub.key('foreign')}:breaker", "text", ex=60)

    seen = listing("--json")
    found = {each["name"]: each for each in json_line(seen.out)["breakers"]}
    assert list(found) == sorted(("quiet", HOSTILE)) and "1 name has keys of another type" in seen.err
    assert found["quiet"]["state"] == "closed" and found["quiet"]["transition"] is None
    how = found[HOSTILE]["transition"]
    assert (how["reason"], how["forced"], how["counts"]["failures"]) == ("consecutive_failures", False, 3)
    assert how["at"].endswith("Z") and 0 < found[HOSTILE]["remaining"] <= 30
    assert found[HOSTILE]["policy"]["consecutive"] == 3

    shown = listing()
    assert shown.code == 0 and "\x1b" not in shown.out and "a:{b}\\x1b[2J\\n" in shown.out
    assert "consecutive_failures" in shown.out and "quiet" in shown.out


def test_what_one_hash_says_does_not_hide_the_others(hub: Hub, listing: Run, breakers: Run) -> None:
    for name in ("odd", "far", "good"):
        used(hub, name).force_open(60, "by hand")
    hub.client.hset(f"{hub.key('odd')}:breaker", "state", "degraded")
    hub.client.hset(f"{hub.key('far')}:breaker", "since_us", 10**18)
    for words in ((), ("--json",)):
        seen = listing(*words)
        assert seen.code == 0 and "good" in seen.out and "far" in seen.out and "odd" not in seen.out
        assert "1 name has keys of another type or content, as odd" in seen.err
        shown = breakers("show", "far", *words)
        assert shown.code == 0 and "9999-12-31" in shown.out
        refused = breakers("show", "odd", *words)
        assert refused.code == 2 and refused.err.count("\n") == 1 and "Traceback" not in refused.err


def test_show(hub: Hub, breakers: Run) -> None:
    unknown = breakers("show", HOSTILE)
    assert unknown.code == 1 and unknown.out.endswith(": unknown\n") and "\x1b" not in unknown.out
    assert json_line(breakers("show", HOSTILE, "--json").out)["known"] is False
    used(hub, HOSTILE)
    assert "never anything else" in breakers("show", HOSTILE).out
    tripped(hub, HOSTILE)
    seen = breakers("show", HOSTILE)
    assert seen.code == 0 and seen.out.count("\n") == 5 and "\x1b" not in seen.out
    for words in ("open, ", "s left", "closed -> open for 30 s", "3 failed", "1 replicas reported", "consecutive=3"):
        assert words in seen.out
    assert json_line(breakers("show", HOSTILE, "--json").out)["state"] == "open"


def test_opened_and_closed_by_hand(hub: Hub, breakers: Run) -> None:
    breaker = used(hub, "payments")
    events = breaker.events()
    while not hub.mailbox.channel:  # the subscription is confirmed
        pass
    done = breakers("open", "payments", "--for", "1h30m", "--reason", "they move\nhouse")
    assert done.code == 0 and done.out.count("\n") == 1 and done.out.endswith(": they move\\nhouse\n")
    assert "closed -> open for 5400 s, by hand of " in done.out
    opened = next(events)
    assert opened.forced and opened.reason == "they move\nhouse" and opened.by in done.out
    with pytest.raises(CircuitOpen) as refused:
        breaker.call(str)
    assert 5000 < refused.value.retry_after <= 5400
    done = breakers("close", "payments")
    assert done.code == 0 and "open -> closed" in done.out and done.out.endswith(": closed by hand\n")
    assert next(events).after is BreakerState.CLOSED
    assert breaker.call(str) == ""


def test_a_name_that_nobody_uses_is_not_made(hub: Hub, breakers: Run) -> None:
    for words in (("open", "paymnets", "--for", "10m", "--reason", "r"), ("close", "paymnets")):
        refused = breakers(*words)
        assert (refused.code, refused.out, refused.err) == (1, "paymnets: unknown; nothing changed\n", "")
    assert not hub.client.keys(f"{hub.root}*")
    assert breakers("open", "later", "--for", "10m", "--reason", "r", "--new").code == 0
    with pytest.raises(CircuitOpen):
        CircuitBreaker(name="later", policy=POLICY, redis=hub).call(str)


def test_watch_tells_every_change_until_it_is_interrupted(
    hub: Hub, backend: ServerBackend, prefix: str, breakers: Run
) -> None:
    words = ("breakers", "watch", "--redis", url_of(backend), "--key-prefix", prefix)
    with start(*words) as people, start(*words, "--json") as program:
        for process in (people, program):
            assert process.stderr and process.stderr.readline().startswith(b"riskscale: listening on ")
        used(hub, "payments")
        hub.client.publish(breakers_channel(hub.root), "no message of ours")
        for name in ("payments", HOSTILE):
            assert breakers("open", name, "--for", "90s", "--reason", "a\x1b[2Jb\nc", "--new").code == 0
        assert people.stdout and program.stdout
        lines = [people.stdout.readline().decode() for _ in range(2)]
        assert lines[0].startswith("payments: ") and lines[1].startswith("a:{b}\\x1b[2J\\n")
        assert all(line.endswith(": a\\x1b[2Jb\\nc\n") and "\x1b" not in line for line in lines)
        told = [json.loads(program.stdout.readline()) for _ in range(2)]
        assert [(each["breaker"], each["after"], each["lasts"]) for each in told] == [
            ("payments", "open", 90.0),
            (HOSTILE, "open", 90.0),
        ]
        for process in (people, program):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out, err) == (130, b"", b"riskscale: interrupted\n")


@pytest.mark.owns_server
def test_a_server_that_dies_ends_the_watch(scratch_server: Any) -> None:
    with start("breakers", "watch", "--redis", scratch_server.url) as process:
        assert process.stderr and process.stderr.readline()
        scratch_server.kill()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count(b"\n")) == (2, b"", 1) and err.startswith(b"riskscale: ")


class Silent:
    """A subscription on a connection that is dead and does not say so."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def pubsub(self) -> Silent:
        return self

    def subscribe(self, channel: str) -> None:
        self.pings = 0

    def get_message(self, timeout: float) -> None:
        return None

    def ping(self) -> None:
        self.pings += 1


def test_a_silent_connection_is_found_out() -> None:
    silent = Silent()
    with pytest.raises(redis.ConnectionError, match="no sign of life"):
        next(server.heard(silent, "channel"))
    assert silent.pings == 1


@pytest.mark.owns_server
def test_the_smallest_user_may_do_all_but_list(hub: Hub, run: Run, breakers: Run, prefix: str) -> None:
    used(hub, "payments")
    assert breakers("show", "payments").code == 0
    assert breakers("open", "payments", "--for", "10m", "--reason", "r").code == 0
    refused = breakers("list")
    assert refused.code == 2 and refused.err.count("\n") == 1 and "acl --operator" in refused.err
    line = run("scripts", "acl", "--prefix", prefix, "--user", f"op-{prefix[:-1]}", "--operator").out.strip()
    hub.client.execute_command(*line.split(" "))
    host = hub.client.connection_pool.connection_kwargs
    url = f"redis://op-{prefix[:-1]}:CHANGE-ME@{host['host']}:{host['port']}"
    try:
        seen = run("breakers", "list", "--json", "--redis", url, "--key-prefix", prefix)
        assert [each["name"] for each in json_line(seen.out)["breakers"]] == ["payments"]
    finally:
        hub.client.acl_deluser(f"op-{prefix[:-1]}")


OPEN = ("open", "payments", "--for", "10m", "--reason", "r")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", ""), "name"),
        (("show", "\udcff"), "name"),
        (("open", "payments", "--reason", "r"), "--for"),
        (("open", "payments", "--for", "10m"), "--reason"),
        ((*OPEN[:-1], " "), "reason"),
        ((*OPEN[:-1], "r" * 513), "reason"),
        (("open", "payments", "--for", "0s", "--reason", "r"), "--for"),
        (("open", "payments", "--for", "10", "--reason", "r"), "10m"),
        (("open", "payments", "--for", "-1m", "--reason", "r"), "--for"),
        (("open", "payments", "--for", "32d", "--reason", "r"), "--for"),
        (("open", "payments", "--for", "999999999w" * 99, "--reason", "r"), "--for"),
        (("open", "", *OPEN[2:]), "name"),
        (("close", "payments", "--reason", ""), "reason"),
    ],
)
def test_bad_input_is_one_line(breakers: Run, words: tuple[str, ...], said: str) -> None:
    outcome = breakers(*words)
    assert outcome.code == 2 and not outcome.out and outcome.err.count("\n") == 1 and said in outcome.err


@pytest.mark.parametrize("words", [("list",), ("show", "a"), OPEN, ("close", "a"), ("watch",)])
def test_no_server_is_one_line(run: Run, words: tuple[str, ...]) -> None:
    for url in ((), ("--redis", "http://x"), ("--redis", "redis://127.0.0.1:1")):
        outcome = run("breakers", *words, *url)
        assert outcome.code == 2 and outcome.err.count("\n") == 1 and "Traceback" not in outcome.err


def test_a_prefix_for_which_nothing_is_published(run: Run, backend: ServerBackend) -> None:
    outcome = run("breakers", "watch", "--redis", backend.url, "--key-prefix", "p" * 128)
    assert outcome.code == 2 and "nothing is published" in outcome.err
