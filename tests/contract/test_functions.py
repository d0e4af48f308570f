"""The library of Redis Functions: it is what the scripts are, it is loaded and compared, and nobody notices.

A server without Functions (Redis 6.2) is told so by name; that is what these tests ask of it instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from riskscale import __version__
from riskscale._core.acl import setuser_line
from riskscale._core.call import line
from riskscale._core.scripts import folder, manifest, names, script
from riskscale.cli import functions
from riskscale.cli.functions import Loaded, judge, objection
from riskscale.testing import ServerProcess
from tests.cli.conftest import run  # noqa: F401 - a fixture
from tests.contract.examples import EXAMPLES, NOW
from tests.contract.vectors import Send, failures, primitives
from tools.functions import function_name, library

pytestmark = [pytest.mark.server, pytest.mark.owns_server]
SCRIPTS = manifest()["scripts"]
ROUNDS = 3


@pytest.fixture(scope="module")
def process() -> Iterator[ServerProcess]:
    with ServerProcess() as server:
        yield server


@pytest.fixture
def server(process: ServerProcess) -> Iterator[redis.Redis]:
    """A server with nothing on it."""
    with redis.Redis.from_url(process.url) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
        if has_functions(client):
            client.function_flush()
        yield client


@pytest.fixture
def url(process: ServerProcess) -> tuple[str, str]:
    return "--redis", process.url


def has_functions(client: redis.Redis) -> bool:
    return int(client.info("server")["redis_version"].split(".")[0]) >= 7


def of_release(release: str) -> str:
    """The library, as another release would have it."""
    texts = {name: script(name).text.decode() for name in names()}
    return library(manifest(), texts, release)


def words_of(name: str, place: str, *args: str | int) -> tuple[Any, ...]:
    """What follows the digest, or the function's name: the example's keys with ``place`` before them, and arguments."""
    roles = EXAMPLES[name][0]
    return len(roles), *(f"{place}:rs1:{{contract}}:{role}" for role in roles), *args


def said(client: redis.Redis, command: str, name: str, place: str, *args: str | int) -> Any:
    """The reply, or the first two words of the error."""
    head = script(name).text if command == "EVAL" else function_name(name)
    try:
        reply = client.execute_command(command, head, *words_of(name, place, *args))
    except redis.ResponseError as error:
        return " ".join(str(error).split()[:2])
    return line(reply) if isinstance(reply, bytes) else reply


def state(client: redis.Redis, place: str) -> dict[bytes, Any]:
    keys = sorted(client.scan_iter(f"{place}:*"))
    return {key.removeprefix(place.encode()): (client.dump(key), client.pttl(key) > 0) for key in keys}


def test_a_server_without_them_is_told_so(run: Any, server: redis.Redis, url: tuple[str, str]) -> None:  # noqa: F811
    for verb in ("load", "diff"):
        code, out, err = run("functions", verb, *url)
        if has_functions(server):
            assert (code, err) == (0, "") and out
        else:
            version = server.info("server")["redis_version"]
            assert (code, out, err.count("\n")) == (2, "", 1) and f"Redis {version} has no Functions" in err


def test_every_example_says_and_writes_the_same(server: redis.Redis) -> None:
    """Again and again, in one order and the other: nothing of a call stays behind for the next."""
    if not has_functions(server):
        return
    server.function_load(of_release(__version__))
    for turn in range(ROUNDS):
        for name in names()[:: -1 if turn % 2 else 1]:
            for args in ([*EXAMPLES[name][1], NOW + turn], [*EXAMPLES[name][1], "soon"]):
                assert said(server, "EVAL", name, "e", *args) == said(server, "FCALL", name, "f", *args), name
            assert state(server, "e") == state(server, "f"), name
    assert state(server, "e")


@pytest.mark.parametrize("primitive", primitives())
def test_they_decide_as_the_vectors_say(primitive: str, server: redis.Redis) -> None:
    if not has_functions(server):
        return
    server.function_load(of_release(__version__))
    send: Send = lambda name, keys, args: server.fcall(function_name(name), len(keys), *keys, *args)  # type: ignore[arg-type]  # noqa: E731
    assert failures(primitive, send, server, "functions:") == []


def test_those_that_only_read_may_be_asked_of_a_replica(server: redis.Redis) -> None:
    if not has_functions(server):
        return
    server.function_load(of_release(__version__))
    for name, entry in SCRIPTS.items():
        reply = said(server, "FCALL_RO", name, "r", *EXAMPLES[name][1], NOW)
        assert isinstance(reply, list) == ("readonly" in entry["flags"]), (name, reply)
    assert server.fcall_ro("rs_version", 0) == [__version__.encode(), manifest()["contract"]]


def test_what_frees_passes_when_memory_is_full(server: redis.Redis) -> None:
    """By EVALSHA because of what it writes first, by FCALL because of its flag."""
    ways = ["EVAL", "FCALL"] if has_functions(server) else ["EVAL"]
    if "FCALL" in ways:
        server.function_load(of_release(__version__))
    passed: dict[str, set[str]] = {}
    for way in ways:
        passed[way] = set()
        for name in names():
            server.config_set("maxmemory", 0)
            server.flushall()
            for before in (
                "lock.acquire",
                "semaphore.acquire",
                "rate.gcra",
                "rate.sliding_log",
                "rate.reserve",
                "idempotency.begin",
                "partition.beat",
            ):
                assert isinstance(said(server, "EVAL", before, "m", *EXAMPLES[before][1], NOW), list)
            server.config_set("maxmemory", 1)
            reply = said(server, way, name, "m", *EXAMPLES[name][1], NOW)
            if isinstance(reply, list):
                passed[way].add(name)
    server.config_set("maxmemory", 0)
    frees = {name for name, entry in SCRIPTS.items() if {"frees", "readonly"} & set(entry["flags"])}
    assert frees <= passed["EVAL"], frees - passed["EVAL"]
    assert passed.get("FCALL", frees) == frees


def test_load_and_diff(run: Any, server: redis.Redis, url: tuple[str, str]) -> None:  # noqa: F811
    if not has_functions(server):
        return
    code, out, _ = run("functions", "diff", *url)
    assert (code, out.count("missing")) == (1, len(SCRIPTS))
    assert run("functions", "load", *url) == (0, f"riskscale {__version__}: {len(SCRIPTS)} functions, loaded\n", "")
    assert run("functions", "load", *url).out.endswith("unchanged\n")
    code, out, _ = run("functions", "diff", *url)
    assert code == 0 and [each.split() for each in out.splitlines()] == [
        [function_name(name), "ok"] for name in names()
    ]
    assert run("functions", "show").out == (folder() / "riskscale.functions.lua").read_text()


def test_what_differs_is_named(run: Any, server: redis.Redis, url: tuple[str, str]) -> None:  # noqa: F811
    if not has_functions(server):
        return
    sha = SCRIPTS["lock.renew"]["sha1"]
    server.function_load(of_release(__version__).replace(sha, "0" * 40))
    code, out, _ = run("functions", "diff", *url)
    assert code == 1 and f"rs_lock_renew{' ' * 12}other: the server has that of {'0' * 40}, not {sha}\n" in out
    server.function_load(of_release(__version__) + "-- by hand\n", replace=True)
    code, out, _ = run("functions", "diff", *url)
    assert code == 1 and f"the code differs from this release's, {__version__}; the server says {__version__}\n" in out


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (of_release("999.1.0"), f"it has the functions of 999.1.0, newer than {__version__}"),
        ("#!lua name=riskscale\nredis.register_function('mine', function() return 1 end)", "is not ours"),
        (of_release("0.0.9").replace("'rs_lock_renew'", "'rs_lock_prolong'"), "rs_lock_prolong would be gone"),
    ],
)
def test_what_would_harm_others_is_refused(
    run: Any,  # noqa: F811
    server: redis.Redis,
    url: tuple[str, str],
    code: str,
    why: str,
) -> None:
    if not has_functions(server):
        return
    server.function_load(code)
    exit_code, out, err = run("functions", "load", *url)
    assert (exit_code, out, err.count("\n")) == (2, "", 1) and why in err and "--force" in err
    assert run("functions", "load", "--force", *url).code == run("functions", "diff", *url).code == 0


def test_an_older_release_is_replaced_while_it_is_called(run: Any, server: redis.Redis, url: tuple[str, str]) -> None:  # noqa: F811
    if not has_functions(server):
        return
    older = of_release("0.0.9")
    server.function_load(older)
    failures: list[Exception] = []
    calls, enough, done = 0, threading.Semaphore(0), threading.Event()

    def call() -> None:
        nonlocal calls
        with redis.Redis.from_url(url[1]) as client:
            while not done.is_set():
                try:
                    client.fcall("rs_rate_gcra", 1, "rs1:{a}:rate:api:60s:gcra", 100, 60_000_000, 100, 1, 1, "")
                except redis.RedisError as error:
                    failures.append(error)
                calls += 1
                enough.release()

    caller = threading.Thread(target=call)
    caller.start()
    try:
        for _ in range(5):
            assert enough.acquire(timeout=30)
            assert "(was: 0.0.9)" in run("functions", "load", *url).out
            server.function_load(older, replace=True)
        assert enough.acquire(timeout=30)
    finally:
        done.set()
        caller.join()
    assert not failures and calls > 5


def test_a_user_of_the_printed_acl_needs_fcall_besides(server: redis.Redis, process: ServerProcess) -> None:
    if not has_functions(server):
        return
    server.function_load(of_release(__version__))
    server.execute_command(*setuser_line("svc", "secret", "f:").split(" "), "+fcall")
    with redis.Redis.from_url(process.url, username="svc", password="secret") as client:
        for name, entry in SCRIPTS.items():
            if "operator" not in entry["flags"]:
                args = [f"f:{word}" if str(word).startswith("rs1:") else word for word in EXAMPLES[name][1]]
                assert isinstance(said(client, "FCALL", name, "f", *args, NOW), list), name
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.fcall("rs_rate_gcra", *words_of("rate.gcra", "g", *EXAMPLES["rate.gcra"][1], NOW))
    server.acl_deluser("svc")


def test_verdicts() -> None:
    assert judge("aa", "aa") == "ok" and judge(None, "aa") == "not of this release"
    assert judge("aa", None).startswith("missing") and judge("aa", "").startswith("other: the server has that of no")
    ours = Loaded(__version__, dict.fromkeys(functions._digests(), "aa"), "code")
    assert objection(Loaded()) == objection(ours) == ""
    for newer, older in (("0.10.0", "0.9.9"), ("1.0", "0.99.1"), ("0.2.0", "0.1.9rc1")):
        assert functions._order(newer) > functions._order(older)
    assert functions._order("0.2.0rc1") == functions._order("0.2.0")
