"""The results as ``docs/performance.md`` shows them: tables between its marks, and two pictures.

The same results give the same files, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.command import Results
from benchmarks.rates import pictures
from benchmarks.report import Row

PAGE: Final = "performance.md"
BEGIN: Final = "<!-- from here on by `make bench-rates` -->"
END: Final = "<!-- to here -->"

Cell = Callable[[Row], str]


def publish(results: Results, folder: Path) -> None:
    """Write the pictures, and the page's part between the marks; what stands around them stays.

    Raises:
        ValueError: the page has no such marks.
    """
    page = folder / PAGE
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} lacks {BEGIN!r} or {END!r}")
    pictures.draw(results, folder)
    page.write_text(f"{before}{begin}\n\n{measured(results)}\n{end}{after}", encoding="utf-8")


def measured(results: Results) -> str:
    """All tables, each under its heading."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    parts = [f"Measured with {versions}; {results['machine']}.\n"]
    for title, picture, table in _sections(results):
        image = f"![{title}]({picture})\n\n" if picture else ""
        parts.append(f"### {title}\n\n{image}{table}")
    return "\n".join(parts)


def _sections(results: Results) -> Iterable[tuple[str, str, str]]:
    """Title, picture or '', table."""
    for number, parser in enumerate(dict.fromkeys(row["parser"] for row in results["asyncio"])):
        rows = [row for row in results["asyncio"] if row["parser"] == parser]
        yield (
            f"Decisions a second by concurrent asyncio callers, and times bare; redis-py with {_PARSERS[parser]}",
            "" if number else pictures.THROUGHPUT,
            across(rows, "callers", lambda row: f"{row['ops_per_s']:,.0f} ({row['ratio_to_bare']:.2f})"),
        )
    rates = {
        "parser": "parser",
        "ops_per_s": "decisions/s",
        "ratio_to_bare": "times bare",
        "round_trips": "round trips",
    }
    yield "Lists of a hundred, asyncio, one caller", "", listed(results["hit_many"], rates)
    yield "Blocking, one thread", "", listed(results["blocking"], rates)
    waits = {"parser": "parser", "median_us": "median us", "p99_us": "p99 us", "ratio_to_bare": "times bare"}
    yield "One caller's wait for one decision, asyncio, after an idle time", "", listed(results["latency"], waits)
    local = {"ops_per_s": "decisions/s", "ratio_to_limits": "times limits", "round_trips": "round trips"}
    yield "Without a round trip, asyncio, one caller", "", listed(results["local"], local)
    server = {"us_per_decision": "us", "ratio_to_get_set": "times GET and SET"}
    yield "Server time per decision", "", listed(results["server_time"], server)
    yield (
        "Server time per decision by the height of the limit, times that of one GET and one SET: admitted, refused",
        pictures.SERVER_TIME,
        across(
            results["growth_limit"], "limit", lambda row: f"{row['ratio_admitted']:.2f}, {row['ratio_refused']:.2f}"
        ),
    )
    yield (
        "Server time per decision by the number of tenants, times that of one GET and one SET",
        "",
        across(results["growth_keys"], "keys", lambda row: f"{row['ratio_to_get_set']:.2f}"),
    )
    yield (
        "Bytes of one tenant whose limit is used up: in memory with the key's name, and of these payload",
        "",
        across(results["memory"], "limit", _bytes),
    )


_PARSERS: Final = {"python": "its own parser", "hiredis": "hiredis"}


def listed(rows: Sequence[Row], columns: dict[str, str]) -> str:
    """A line a row: its name, and some of its figures under headings."""
    lines = [[str(row["name"]), *(_figure(row[column]) for column in columns)] for row in rows]
    return _markdown(["", *columns.values()], lines)


def across(rows: Sequence[Row], column: str, cell: Cell) -> str:
    """A line a name, with the values of one column as headings."""
    heads = list(dict.fromkeys(row[column] for row in rows))
    lines: dict[str, dict[Any, str]] = {}
    for row in rows:
        lines.setdefault(str(row["name"]), {})[row[column]] = cell(row)
    return _markdown(
        [column, *(f"{head:,}" for head in heads)],
        [[name, *(cells.get(head, "") for head in heads)] for name, cells in lines.items()],
    )


def _bytes(row: Row) -> str:
    return f"{row['memory']:,}" + (f", {row['payload']:,}" if "payload" in row else "")


def _figure(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
