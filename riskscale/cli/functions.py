"""``riskscale functions``: the scripts as one library of Redis Functions, which every client of a server shares."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from redis.exceptions import ResponseError

from riskscale import __version__
from riskscale._core.call import text
from riskscale._core.scripts import folder, manifest
from riskscale.cli import server
from riskscale.cli.errors import Failure, is_noperm
from riskscale.cli.options import Url

LIBRARY = "riskscale"
_RELEASE = re.compile(rf"{LIBRARY} (\S+), contract \d+\Z")

app = typer.Typer(help="The scripts as Redis Functions, for FCALL (Redis 7 and later, Valkey).", rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a server has under the library's name: its release ("" = it is not ours), name -> digest of the script."""

    release: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    code: str = ""


@app.command()
def show() -> None:
    """The library's file, as it is loaded."""
    sys.stdout.flush()
    sys.stdout.buffer.write(_file())
    sys.stdout.buffer.flush()


@app.command()
def load(
    redis: Url,
    force: Annotated[bool, typer.Option("--force", help="Also over a newer release, or over another library.")] = False,
) -> None:
    """FUNCTION LOAD the library, on every primary of a cluster, in place of an older one: no call fails meanwhile."""
    with server.connected(redis) as client:
        nodes = [(node, loaded(node, redis)) for node in _primaries(client)]
        for _, there in nodes:
            if not force and (problem := objection(there)):
                raise Failure(f"{server.safe_url(redis)}: {problem}; --force loads this one all the same")
        for node, there in nodes:
            is_new = there.code != _file().decode()
            if is_new:
                node.function_load(_file(), replace=True)
            was = f" (was: {there.release or 'another'})" if there.code else ""
            print(f"{LIBRARY} {__version__}: {len(_digests())} functions, {'loaded' + was if is_new else 'unchanged'}")


@app.command()
def diff(redis: Url) -> None:
    """What the server's library has other than this release's; exit 1 if there is a difference."""
    ours, good = _digests(), True
    with server.connected(redis) as client:
        for node in _primaries(client):
            there = loaded(node, redis)
            for name in sorted({*ours, *there.digests}):
                print(f"{name:<24} {judge(ours.get(name), there.digests.get(name))}")
            if there.digests == ours and there.code != _file().decode():
                print(f"the code differs from this release's, {__version__}; the server says {there.release or 'none'}")
            good = good and there.code == _file().decode()
    if not good:
        raise typer.Exit(1)


def judge(ours: str | None, theirs: str | None) -> str:
    """What is to be said of one function, by the digests of the scripts."""
    if theirs is None:
        return "missing: `riskscale functions load`"
    if ours is None:
        return "not of this release"
    return "ok" if ours == theirs else f"other: the server has that of {theirs or 'no script'}, not {ours}"


def objection(there: Loaded) -> str:
    """Why this release must not take the place of what is there; "" = it may."""
    if there.code and not there.release:
        return f"its library {LIBRARY} is not ours"
    if _order(there.release) > _order(__version__):
        return f"it has the functions of {there.release}, newer than {__version__}"
    if gone := sorted(set(there.digests) - set(_digests())):
        return f"{', '.join(gone)} would be gone"
    return ""


def loaded(node: Any, url: str) -> Loaded:
    """What there is on one server; Failure where it has no Functions."""
    try:
        libraries = node.function_list(library=LIBRARY, withcode=True)
    except ResponseError as error:
        if is_noperm(error) or "unknown command" not in str(error).lower():
            raise
        which = f"Redis {node.info('server').get('redis_version', 'before 7.0')}"
        raise Failure(f"{server.safe_url(url)}: {which} has no Functions; EVALSHA needs none") from None
    if not libraries:
        return Loaded()
    library = _fields(libraries[0])
    about = {text(each["name"]): text(each["description"] or "") for each in map(_fields, library["functions"])}
    release = _RELEASE.match(about.pop("rs_version", ""))
    digests = {name: (re.match(r"[0-9a-f]{40}", said) or [""])[0] for name, said in about.items()}
    return Loaded(release[1] if release else "", digests, text(library["library_code"]))


def _file() -> bytes:
    return (folder() / "riskscale.functions.lua").read_bytes()


def _digests() -> dict[str, str]:
    return {f"rs_{name.replace('.', '_')}": entry["sha1"] for name, entry in manifest()["scripts"].items()}


def _primaries(client: Any) -> Iterator[Any]:
    """A client of each server that takes writes."""
    if not hasattr(client, "get_primaries"):
        yield client
        return
    for node in client.get_primaries():
        yield client.get_redis_connection(node)


def _order(release: str) -> tuple[int, ...]:
    """Releases in their order; one that is still being made counts as made."""
    numbers = re.match(r"\d+(\.\d+)*", release)
    return tuple(map(int, numbers[0].split("."))) if numbers else ()


def _fields(reply: Any) -> dict[str, Any]:
    """A map of the reply, which RESP2 has as a list."""
    pairs = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=True)
    return {text(name): value for name, value in pairs}
