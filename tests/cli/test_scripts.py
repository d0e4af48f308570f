"""``riskscale scripts``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from riskscale._core.acl import setuser_line
from riskscale._core.scripts import Script, folder, manifest, names
from riskscale.cli.scripts import PASSWORD, judge, mismatched
from tests.cli.command import json_line

ONE = Script("lock.acquire", b"", "aa")


def test_list(run: Callable[..., Any]) -> None:
    code, out, _ = run("scripts", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == names()
    assert json_line(run("scripts", "list", "--json").out) == manifest()


@pytest.mark.parametrize("name", names())
def test_show_and_sha(run: Callable[..., Any], name: str) -> None:
    text = (folder() / f"{name.replace('.', '/')}.lua").read_text()
    assert run("scripts", "show", name) == (0, text, "")
    assert run("scripts", "sha", name) == (0, hashlib.sha1(text.encode()).hexdigest() + "\n", "")


@pytest.mark.server
@pytest.mark.owns_server
def test_load_and_verify(run: Callable[..., Any], scratch_server: Any) -> None:
    url = ("--redis", scratch_server.url)
    code, out, _ = run("scripts", "verify", *url)
    assert (code, out.count("not loaded")) == (1, len(names()))
    assert run("scripts", "load", *url).code == 0
    code, out, _ = run("scripts", "verify", *url)
    assert code == 0
    assert [line.split()[::2] for line in out.splitlines()] == [[name, "ok"] for name in manifest()["scripts"]]


def test_acl(run: Callable[..., Any]) -> None:
    code, out, err = run("scripts", "acl", "--prefix", "app:", "--user", "svc")
    assert (code, out) == (0, setuser_line("svc", PASSWORD, "app:") + "\n")
    assert PASSWORD in err
    operators = run("scripts", "acl", "--operator").out
    assert set(operators.split()) - set(run("scripts", "acl").out.split()) == {"+hmset", "+scan"}


def test_verdicts() -> None:
    assert judge(ONE, "aa", present=True) == "ok"
    assert judge(ONE, "aa", present=False).startswith("not loaded")
    assert judge(ONE, "bb", present=True) == "altered: the manifest has bb"


@pytest.mark.parametrize(("reply", "said"), [("aa", ""), (b"aa", ""), ({"n1": b"aa", "n2": "cc"}, "cc")])
def test_a_server_that_calls_it_otherwise(reply: object, said: str) -> None:
    assert mismatched(ONE, reply) == said
