"""``riskscale scripts``: the Lua files, for callers without Python and for those who operate the server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from riskscale._core.acl import setuser_line
from riskscale._core.scripts import Script, manifest, names, script
from riskscale.cli import server
from riskscale.cli.errors import Failure
from riskscale.cli.options import AsJson, Url

PASSWORD = "CHANGE-ME"  # noqa: S105 - a placeholder

app = typer.Typer(help="The Lua scripts themselves.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Such as lock.acquire.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every script: its name, its digest, what it does."""
    contract = manifest()
    if as_json:
        print(json.dumps(contract, ensure_ascii=False))
        return
    for name, entry in sorted(contract["scripts"].items()):
        print(f"{name:<20} {entry['sha1']}  {entry['title']}")


@app.command()
def show(name: Name) -> None:
    """The file of one script, as it is loaded."""
    sys.stdout.flush()
    sys.stdout.buffer.write(known(name).text)
    sys.stdout.buffer.flush()


@app.command()
def sha(name: Name) -> None:
    """The digest of one script, as EVALSHA takes it."""
    print(known(name).sha)


@app.command()
def load(redis: Url) -> None:
    """SCRIPT LOAD every script, on every primary of a cluster."""
    with server.connected(redis) as client:
        for each in map(script, names()):
            if loaded := mismatched(each, client.script_load(each.text)):
                raise Failure(f"{each.name}: the server calls it {loaded}, not {each.sha}")
            print(f"{each.name:<20} {each.sha}")


@app.command()
def verify(redis: Url) -> None:
    """Whether the server has every script, and every file is the one that the manifest describes; exit 1 if not."""
    entries = manifest()["scripts"]
    with server.connected(redis) as client:
        found = exists(client, [script(name).sha for name in entries])
    good = True
    for name, present in zip(entries, found, strict=True):
        verdict = judge(script(name), entries[name]["sha1"], present)
        print(f"{name:<20} {script(name).sha}  {verdict}")
        good = good and verdict == "ok"
    if not good:
        raise typer.Exit(1)


@app.command()
def acl(
    prefix: Annotated[str, typer.Option(metavar="P", help="The application's key_prefix.")] = "",
    user: Annotated[str, typer.Option(metavar="NAME")] = "riskscale",
    operator: Annotated[
        bool, typer.Option("--operator", help="For people: also what changes limits and lists.")
    ] = False,
) -> None:
    """The smallest ACL SETUSER line that lets a client run the scripts on its own keys and nothing else."""
    print(setuser_line(user, PASSWORD, prefix, operator=operator))
    print(f"riskscale: put a password of your own in place of {PASSWORD}", file=sys.stderr)


def known(name: str) -> Script:
    """The script of that name, or Failure with those that there are."""
    if name not in names():
        raise Failure(f"there is no script {name!r}; there are {', '.join(names())}")
    return script(name)


def judge(each: Script, in_manifest: str, present: bool) -> str:
    """What is to be said of one script."""
    if each.sha != in_manifest:
        return f"altered: the manifest has {in_manifest}"
    return "ok" if present else "not loaded: `riskscale scripts load`, or let EVAL load it at its first call"


def mismatched(each: Script, reply: Any) -> str:
    """The digest that a server (of a cluster, each) gave back, where it is not ours; else ""."""
    replies: Iterable[Any] = reply.values() if isinstance(reply, dict) else [reply]
    texts = [one.decode() if isinstance(one, bytes) else str(one) for one in replies]
    return next((text for text in texts if text != each.sha), "")


def exists(client: Any, digests: list[str]) -> list[bool]:
    """SCRIPT EXISTS; on a cluster, on every primary."""
    return [bool(one) for one in client.script_exists(*digests)]
