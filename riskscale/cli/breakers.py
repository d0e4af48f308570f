"""``riskscale breakers``: what they are in and why, changing one by hand, and following all of them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from riskscale._core.durations import MICRO, length, microseconds
from riskscale.breaker import admin, calls
from riskscale.breaker.base import check_reason
from riskscale.breaker.policy import MONTH_US
from riskscale.breaker.state import ADMITTING, BreakerInfo, BreakerState, Counts, Transition
from riskscale.cli import keyspace, server
from riskscale.cli.errors import Failure
from riskscale.cli.keyspace import connected_hub
from riskscale.cli.options import AsJson, KeyPrefix, Url
from riskscale.cli.screen import console, iso, one_line, plain, when
from riskscale.sync import Hub

app = typer.Typer(help="The circuit breakers that replicas share.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="As given to CircuitBreaker.")]
COLUMNS = ("name", "state", "left", "since", "reason", "by", "calls", "failures", "slow", "replicas", "votes")


@app.command("list")
def list_(redis: Url, key_prefix: KeyPrefix = "", as_json: AsJson = False) -> None:
    """Every breaker that was in use within the last two hours."""
    with connected_hub(redis, key_prefix) as hub:
        names = sorted(keyspace.found(hub, [admin.pattern(hub.root)], partial(admin.breaker_name, hub.root)))
        shown = list(keyspace.inspected(names, partial(_read, hub), str))
    if as_json:
        print(json.dumps({"breakers": [_as_dict(name, info) for name, info in shown]}))
        return
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for name, info in shown:
        how = info.transition
        row = [name, info.state, _left(info), *((when(_at_us(how)), how.reason, how.by) if how else ("", "", ""))]
        cells = (one_line(str(cell)) for cell in (*row, *info.counts, info.replicas, info.votes))
        table.add_row(*map(plain, cells), style="" if info.state in ADMITTING else "red")
    console().print(table)


@app.command()
def show(name: Name, redis: Url, key_prefix: KeyPrefix = "", as_json: AsJson = False) -> None:
    """One breaker: what it is in, how that came about, what is counted; exit 1 if the server knows none."""
    with connected_hub(redis, key_prefix) as hub:
        info = _read(hub, name)
    if as_json:
        print(json.dumps(_as_dict(name, info)))
    else:
        for line in _lines(name, info):
            print(one_line(line))
    if not info.known:
        raise typer.Exit(1)


@app.command("open")
def open_(
    name: Name,
    redis: Url,
    for_: Annotated[str, typer.Option("--for", metavar="LENGTH", help="For how long, such as 90s, 10m, 1h30m.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: every replica logs it.")],
    new: Annotated[bool, typer.Option("--new", help="Also where the server knows none of that name.")] = False,
    key_prefix: KeyPrefix = "",
) -> None:
    """Refuse all calls of all replicas for a while; then one may try. Exit 1 if the server knows none."""
    length_us = microseconds(length(for_, "--for"), "--for", 1000, MONTH_US)
    _force(redis, key_prefix, name, BreakerState.OPEN, length_us, reason, new=new)


@app.command()
def close(
    name: Name,
    redis: Url,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: every replica logs it.")] = "closed by hand",
    key_prefix: KeyPrefix = "",
) -> None:
    """Close it in all replicas, with nothing counted. Exit 1 if the server knows none."""
    _force(redis, key_prefix, name, BreakerState.CLOSED, 0, reason)


@app.command()
def watch(
    redis: Url,
    key_prefix: KeyPrefix = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Every change of every breaker as it happens, until it is interrupted."""
    with connected_hub(redis, key_prefix) as hub:
        channel = admin.breakers_channel(hub.root)
        if not channel:
            raise Failure("watch: the prefix is too long: nothing is published")
        for message in server.heard(hub.client, channel):
            if message is None:
                print(f"riskscale: listening on {channel}", file=sys.stderr, flush=True)
            elif (how := admin.transition_of(hub.root, message)) is not None:
                line = json.dumps(_transition_dict(how)) if as_json else one_line(f"{how.breaker}: {_came_about(how)}")
                print(line, flush=True)


def _force(
    url: str, prefix: str, name: str, state: BreakerState, length_us: int, reason: str, *, new: bool = False
) -> None:
    check_reason(reason)
    with connected_hub(url, prefix) as hub:
        keys = admin.breaker_keys(hub.root, name)
        if not new and not _read(hub, name).known:  # a slip of the pen would guard nothing, and say that all is well
            print(one_line(f"{name}: unknown; nothing changed"))
            raise typer.Exit(1)
        channel = admin.breakers_channel(hub.root)
        snapshot = hub.run(calls.force(keys, admin.person(), state, length_us, reason, channel))
    print(one_line(f"{name}: {_came_about(snapshot.transition(name))}"))


def _read(hub: Hub, name: str) -> BreakerInfo:
    return hub.run(calls.read(admin.breaker_keys(hub.root, name), name))


def _lines(name: str, info: BreakerInfo) -> list[str]:
    if not info.known:
        return [f"{name}: unknown"]
    left, how = _left(info), info.transition
    counted = "probes that have ended" if info.state is BreakerState.HALF_OPEN else "window"
    lines = [
        f"{name}: {info.state}" + (f", {left} left" if left else ""),
        f"  {_came_about(how)}" if how else "  was never anything else",
        f"  {counted}: {_counted(info.counts)}",
        f"  {info.replicas} replicas reported, {info.votes} of them find it bad, {info.probes} permits are out",
    ]
    return lines + ([f"  policy: {info.policy}"] if info.policy else [])


def _came_about(how: Transition) -> str:
    """The reason comes last: whatever it says comes after ours."""
    lasts = f" for {how.lasts:g} s" if how.lasts else ""
    counts = f", {_counted(how.counts)}" if how.counts.calls else ""
    hand = "by hand of" if how.forced else "by"
    return f"{when(_at_us(how))} {how.before} -> {how.after}{lasts}, {hand} {how.by}{counts}: {how.reason}"


def _counted(counts: Counts) -> str:
    return f"{counts.calls:,} calls, {counts.failures:,} failed, {counts.slow:,} slow"


def _left(info: BreakerInfo) -> str:
    """Nothing where it has no end; an opening that is over lasts until somebody calls."""
    return f"{info.remaining:.1f} s" if info.remaining or info.state is BreakerState.OPEN else ""


def _at_us(how: Transition) -> int:
    return round(how.at * MICRO)


def _transition_dict(how: Transition) -> dict[str, Any]:
    return {**asdict(how), "at": iso(_at_us(how)), "counts": how.counts._asdict()}


def _as_dict(name: str, info: BreakerInfo) -> dict[str, Any]:
    return {
        "name": name,
        **asdict(info),
        "counts": info.counts._asdict(),
        "transition": info.transition and _transition_dict(info.transition),
        "policy": info.policy and info.policy._asdict(),
    }
