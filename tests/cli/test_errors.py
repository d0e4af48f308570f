"""Whatever is wrong is one line on standard error, exit code 2, and no secret in it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

import riskscale
from riskscale.cli.errors import explain, printable
from riskscale.cli.server import safe_url
from riskscale.testing.server import free_port
from tests.cli.command import ROOT, SAMPLE, start

SECRET = "hush-hush"
REPLAY = ("replay", SAMPLE, "--limit", "10/60s")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("replay", SAMPLE, "--limit", "10/60x"), "no known unit at character 6"),
        (("replay", SAMPLE, "--limit", "ten"), "character 1"),
        (("replay", SAMPLE, "--limit", "0/60s"), "count must be from 1"),
        (("replay", SAMPLE, "--limit", "5/s", "--limit", "6/1s"), "same period"),
        (("replay", SAMPLE, "--limit", "5/s burst=9", "--algorithm", "sliding_log"), "burst"),
        (("replay", SAMPLE), "--limit"),
        (("replay", "--limit", "10/60s"), "FILE"),
        ((*REPLAY, "--by", "cookie"), "'cookie' is not one of ip"),
        ((*REPLAY, "--by", "ip+"), "'' is not one of"),
        ((*REPLAY, "--algorithm", "leaky"), "'leaky' is not one of sliding_log"),
        ((*REPLAY, "--algorithm", "gcra", "--compare"), "exclude each other"),
        ((*REPLAY, "--by", "ip", "--key-field", "a"), "exclude each other"),
        ((*REPLAY, "--top", "-1"), "--top"),
        ((*REPLAY, "--key-prefix", "a{b"), "key_prefix must be"),
        (("replay", "no/such/file", "--limit", "10/60s"), "no/such/file: No such file"),
        (("replay", ROOT, "--limit", "10/60s"), "Is a directory"),
        (("dance",), "dance"),
        (("demo", "--replicas", "1"), "--replicas"),
        (("demo", "--what"), "--what"),
        (("scripts", "show", "lock.steal"), "there is no script 'lock.steal'; there are breaker.force"),
        (("scripts",), "command"),
        (("scripts", "load"), "--redis"),
        (("scripts", "acl", "--prefix", "{"), "key_prefix must be"),
        (("scripts", "acl", "--user", "a b"), "user must be"),
        (("doctor",), "--redis"),
    ],
)
def test_one_line(run: Callable[..., Any], words: tuple[object, ...], part: str) -> None:
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("riskscale: ")
    assert part in err


@pytest.mark.parametrize("command", [REPLAY, ("demo",), ("scripts", "load"), ("scripts", "verify"), ("doctor",)])
@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("redis://u:{secret}@127.0.0.1:{port}/0", "cannot reach redis://127.0.0.1:{port}/0: Connection refused"),
        ("redis://u:{secret}@nowhere.invalid:{port}", "cannot reach redis://nowhere.invalid:{port}"),
        ("unix://u:{secret}@/no/such/socket", "cannot reach unix:///no/such/socket"),
        ("redis://u:{secret}@127.0.0.1:{port}?socket_timeout=x", "an option after the ?"),
        ("redis://u:{secret}@127.0.0.1:{port}?colour={secret}", "an option after the ?"),
        ("http://u:{secret}@127.0.0.1", "not a URL of a server"),
        ("redis://u:{secret}/x@127.0.0.1", "not a URL of a server"),
        ("redis://{secret}/x@127.0.0.1", "write the characters"),
        ("redis://u:{secret}#x@127.0.0.1", "not a URL of a server"),
        ("redis://u:{secret}@127.0.0.1:99999", "not a URL of a server"),
        ("redis://u:{secret}@127.0.0.1/nought", "must be a number"),
        ("redis://[{secret}", "not a URL of a server"),
        ("unix://", "names no socket"),
        ("{secret}", "not a URL of a server"),
        ("", "not a URL of a server"),
    ],
)
def test_a_bad_server(run: Callable[..., Any], command: tuple[object, ...], url: str, part: str) -> None:
    port = free_port()
    code, out, err = run(*command, "--redis", url.format(secret=SECRET, port=port))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert part.format(port=port) in err
    assert SECRET not in err


@pytest.mark.server
@pytest.mark.owns_server
def test_a_wrong_password(run: Callable[..., Any], scratch_server: Any) -> None:
    url = scratch_server.url.replace("//", f"//nobody:{SECRET}@")
    for command in (REPLAY, ("demo",), ("doctor",)):
        code, out, err = run(*command, "--redis", url)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert SECRET not in err
        assert safe_url(url) in err and "cannot reach" not in err


@pytest.mark.server
@pytest.mark.owns_server
@pytest.mark.parametrize("protocol", ["", "?protocol=2", "?protocol=3"])
def test_no_password(run: Callable[..., Any], scratch_server: Any, protocol: str) -> None:
    with redis.Redis.from_url(scratch_server.url) as client:
        client.config_set("requirepass", SECRET)
    code, out, err = run("doctor", "--redis", scratch_server.url + protocol)
    assert (code, out) == (2, "")
    said = "it requires a password, and the URL has none: redis://[user]:password@host"
    assert err == f"riskscale: {safe_url(scratch_server.url)}: {said}\n"


def test_unreadable_gzip(run: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "log.gz"
    for content in (b"no gzip", gzip.compress(b"x" * 9999)[:-9], b""):
        file.write_bytes(content)
        code, _, err = run("replay", file, "--limit", "1/s")
        if content:
            assert (code, err.count("\n")) == (2, 1)
            assert f"{file}: not a readable gzip file" in err


def test_safe_url() -> None:
    assert safe_url(f"redis://user:{SECRET}@example.org/3?password={SECRET}") == "redis://example.org:6379/3"
    assert safe_url(f"rediss://:{SECRET}@[::1]:7000") == "rediss://[::1]:7000"
    assert safe_url(f"unix://user:{SECRET}@/run/redis.sock?db=1") == "unix:///run/redis.sock"


def test_what_a_terminal_would_obey() -> None:
    assert printable("a\x1b[31m\u202eé\n\x07") == "a\\x1b[31m\\u202eé\n\\x07"


def test_errors_of_the_program_itself_are_not_explained_away() -> None:
    assert explain(ZeroDivisionError("oops")) is None


def test_version_and_help(run: Callable[..., Any]) -> None:
    assert run("--version") == (0, f"riskscale {riskscale.__version__}\n", "")
    for words in ((), ("--help",), ("replay", "--help"), ("scripts", "--help")):
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        assert "Usage: riskscale" in out


def test_a_reader_that_left() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for words in (("scripts", "show", "lock.acquire"), ("scripts", "list"), ("--help",), REPLAY):
        with start(*words, stdout=writing) as process:
            _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (141, b"")
    os.close(writing)


def test_without_the_extra() -> None:
    hide = "import sys; sys.modules.update(dict.fromkeys(('typer', 'rich'))); import importlib.util as u; "
    hide += "real = u.find_spec; "
    hide += "fake = lambda name, *rest: None if name in ('typer', 'rich') else real(name, *rest); "
    code = hide + "u.find_spec = fake; from riskscale.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "riskscale: the command needs typer and rich: pip install 'riskscale[cli]'\n"
