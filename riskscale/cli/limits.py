"""``riskscale limits``: the limits of single keys, which services that use ``RedisLimits`` follow within a second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.table import Table

from riskscale.cli.keyspace import connected_hub
from riskscale.cli.options import AsJson, KeyPrefix, Url
from riskscale.cli.screen import console, one_line, plain
from riskscale.errors import ArgumentError
from riskscale.limits.calls import LimitsCalls
from riskscale.limits.text import written
from riskscale.sync import Hub

app = typer.Typer(help="Limits of single tenants, which services follow within a second.", rich_markup_mode=None)
Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The key, as the limiter is given it.")]
Name = Annotated[str, typer.Option(metavar="NAME", help="What the limits are called: RedisLimits(hub, NAME, ...).")]


@app.command("set")
def set_(
    tenant: Tenant,
    limits: Annotated[str, typer.Argument(metavar="LIMITS", help="Such as 500/minute or '10/second; 1000/hour'.")],
    redis: Url,
    name: Name = "default",
    key_prefix: KeyPrefix = "",
) -> None:
    """Give a tenant limits of its own; what it used so far goes on counting."""
    with _limits(redis, key_prefix, name) as (hub, calls):
        change = hub.run(calls.set(tenant, limits))
    print(one_line(f"{tenant}: {limits} (was: {change.was or 'the default'})"))


@app.command()
def unset(tenant: Tenant, redis: Url, name: Name = "default", key_prefix: KeyPrefix = "") -> None:
    """Take them from it, so that the default counts again; exit 1 if it had none."""
    with _limits(redis, key_prefix, name) as (hub, calls):
        change = hub.run(calls.unset(tenant))
    print(one_line(f"{tenant}: the default (was: {change.was or 'the default'})"))
    if not change.was:
        raise typer.Exit(1)


@app.command()
def get(
    tenant: Tenant, redis: Url, name: Name = "default", key_prefix: KeyPrefix = "", as_json: AsJson = False
) -> None:
    """The limits that a tenant has of its own; exit 1 if it has none."""
    with _limits(redis, key_prefix, name) as (hub, calls):
        (limits,) = hub.run(calls.read([tenant])).texts
    problem = _problem(limits)
    if as_json:
        print(json.dumps(_as_dict(tenant, limits or None)))
    else:
        print(one_line(f"{tenant}: {limits or 'the default'}{problem and f' (services go by the default: {problem})'}"))
    if not limits:
        raise typer.Exit(1)


@app.command("list")
def list_(redis: Url, name: Name = "default", key_prefix: KeyPrefix = "", as_json: AsJson = False) -> None:
    """Every tenant that has limits of its own."""
    with _limits(redis, key_prefix, name) as (hub, calls):
        found = dict(_pages(hub, calls))
    if as_json:
        print(json.dumps({"limits": [_as_dict(tenant, found[tenant]) for tenant in sorted(found)]}))
        return
    table = Table()
    for column in ("tenant", "limits", "not understood"):
        table.add_column(column, overflow="fold")
    for tenant in sorted(found):
        table.add_row(*(plain(one_line(cell)) for cell in (tenant, found[tenant], _problem(found[tenant]))))
    console().print(table)


@contextmanager
def _limits(url: str, prefix: str, name: str) -> Iterator[tuple[Hub, LimitsCalls]]:
    with connected_hub(url, prefix) as hub:
        yield hub, LimitsCalls(hub.root, name)


def _pages(hub: Hub, calls: LimitsCalls) -> Iterator[tuple[str, str]]:
    page = hub.run(calls.list(0))
    yield from page.limits
    while page.cursor:
        page = hub.run(calls.list(page.cursor))
        yield from page.limits


def _problem(limits: str) -> str:
    """What is wrong with them, where somebody wrote them by hand."""
    try:
        written(limits or "1/s")
    except ArgumentError as error:
        return str(error)
    return ""


def _as_dict(tenant: str, limits: str | None) -> dict[str, str | None]:
    return {"tenant": tenant, "limits": limits, "problem": _problem(limits or "") or None}
