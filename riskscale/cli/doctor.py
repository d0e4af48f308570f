"""``riskscale doctor``: is this server fit to keep locks and limits?"""

from __future__ import annotations

import json

import typer
from rich.table import Table

from riskscale.cli import server
from riskscale.cli.checks import Finding, Verdict, examine
from riskscale.cli.options import AsJson, KeyPrefix, Url
from riskscale.cli.screen import console, plain

STYLES: dict[Verdict, str] = {"ok": "green", "warn": "yellow", "fail": "bold red", "unknown": "cyan"}


def command(
    redis: Url,
    key_prefix: KeyPrefix = "",
    as_json: AsJson = False,
) -> None:
    """Examine a server: what may lose or stop locks and limits, and what to do about it; exit 1 if a check fails."""
    with server.connected(redis) as client:
        findings = examine(client, key_prefix)
    good = all(each.verdict != "fail" for each in findings)
    if as_json:
        checks = [each._asdict() for each in findings]
        print(json.dumps({"server": server.safe_url(redis), "ok": good, "checks": checks}))
    else:
        console().print(_table(findings, server.safe_url(redis)))
    if not good:
        raise typer.Exit(1)


def _table(findings: list[Finding], name: str) -> Table:
    table = Table(title=plain(name, "bold"), title_justify="left")
    for column in ("check", "verdict", "seen", "what to do"):
        table.add_column(column, overflow="fold")
    for each in findings:
        table.add_row(each.check, plain(each.verdict, STYLES[each.verdict]), plain(each.seen), plain(each.advice))
    return table
