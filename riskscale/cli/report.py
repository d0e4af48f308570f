"""What ``riskscale replay`` shows: tables for people, objects for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from riskscale.cli.logs import Log
from riskscale.cli.screen import console, iso, plain, when
from riskscale.cli.tally import Tally
from riskscale.rate.limit import Limit


def counted(log: Log, tally: Tally, top: int) -> dict[str, Any]:
    """The result of one algorithm."""
    return {**_common(log, tally), **_decided(tally, top)}


def compared(log: Log, tallies: Sequence[Tally], top: int) -> dict[str, Any]:
    """The results of several algorithms."""
    return {**_common(log, tallies[0]), "algorithms": [_decided(tally, top) for tally in tallies]}


def single(log: Log, tallies: Sequence[Tally], limits: Sequence[Limit], top: int) -> None:
    """Print the totals and the worst keys; of several algorithms, side by side."""
    screen = console()
    screen.print(_totals(log, tallies, limits))
    if any(tally.refused for tally in tallies):
        screen.print(_worst(tallies[0], top) if len(tallies) == 1 else _worst_of_all(tallies, top))
    if log.malformed:
        screen.print(plain(f"{log.malformed:,} malformed {'line' if log.malformed == 1 else 'lines'}:", "yellow"))
        for file, number, why in log.examples:
            screen.print(plain(f"  {file}:{number}: {why}"))
        if log.malformed > len(log.examples):
            screen.print("  ...")


def _common(log: Log, tally: Tally) -> dict[str, Any]:
    times = [at_us for at_us, _ in (log.requests[:1] + log.requests[-1:])]
    return {
        "requests": len(log.requests),
        "malformed": log.malformed,
        "malformed_lines": [{"file": file, "line": line, "reason": why} for file, line, why in log.examples],
        "keys": len(tally.by_key),
        "first": iso(times[0]) if times else None,
        "last": iso(times[-1]) if times else None,
    }


def _decided(tally: Tally, top: int) -> dict[str, Any]:
    return {
        "algorithm": tally.algorithm,
        "admitted": tally.admitted,
        "refused": tally.refused,
        "keys_refused": tally.keys_refused,
        "by_key": [each.as_json() for each in tally.worst(top)],
    }


def _totals(log: Log, tallies: Sequence[Tally], limits: Sequence[Limit]) -> Table:
    span = f", {when(log.requests[0][0])} to {when(log.requests[-1][0])} UTC" if log.requests else ""
    title = plain(f"{' and '.join(map(str, limits))}{span}", "bold")
    table = Table(title=title, title_justify="left")
    table.add_column("algorithm")
    for name in ("requests", "admitted", "refused", "keys", "keys refused"):
        table.add_column(name, justify="right")
    for tally in tallies:
        figures = (len(log.requests), tally.admitted, tally.refused, len(tally.by_key), tally.keys_refused)
        table.add_row(tally.algorithm, *(f"{figure:,}" for figure in figures))
    return table


def _worst(tally: Tally, top: int) -> Table:
    table = Table(title="most refused", title_justify="left", title_style="bold")
    table.add_column("key", overflow="fold")
    for name in ("requests", "admitted", "refused", "first refused", "last refused"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in tally.worst(top):
        if not each.refused:
            break
        times = [when(at_us) if at_us is not None else "" for at_us in (each.first_refused_us, each.last_refused_us)]
        figures = (each.admitted + each.refused, each.admitted, each.refused)
        table.add_row(plain(each.key), *(f"{figure:,}" for figure in figures), *times)
    return table


def _worst_of_all(tallies: Sequence[Tally], top: int) -> Table:
    table = Table(title="most refused: refused by", title_justify="left", title_style="bold")
    table.add_column("key", overflow="fold")
    table.add_column("requests", justify="right")
    for tally in tallies:
        table.add_column(tally.algorithm, justify="right")
    keys = {each.key for tally in tallies for each in tally.worst(top)}
    rows = [(key, [tally.by_key[key].refused for tally in tallies]) for key in keys]
    rows.sort(key=lambda row: (-max(row[1]), -sum(row[1]), row[0]))
    for key, refused in rows[:top] if top else rows:
        if not any(refused):
            break
        first = tallies[0].by_key[key]
        table.add_row(plain(key), f"{first.admitted + first.refused:,}", *(f"{figure:,}" for figure in refused))
    return table
