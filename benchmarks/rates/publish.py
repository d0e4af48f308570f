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


class Page:
    """The page in a folder, which is read before anything is measured.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no such marks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / PAGE
        before, begin, rest = self._path.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{self._path} lacks {BEGIN!r} or {END!r}")
        self._before, self._after = before + begin, end + after

    def write(self, results: Results) -> None:
        """The pictures, and the part between the marks; what stands around them stays."""
        pictures.draw(results, self._folder)
        self._path.write_text(f"{self._before}\n\n{measured(results)}\n{self._after}", encoding="utf-8")


def measured(results: Results) -> str:
    """All tables, each under its heading."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    rounds = results["settings"]["rounds"]
    parts = [f"Measured with {versions}; {results['machine']}; rounds: {rounds}.\n"]
    for title, picture, table in _sections(results):
        image = f"![{title}]({picture})\n\n" if picture else ""
        parts.append(f"### {title}\n\n{image}{table}")
    return "\n".join(parts)


def _sections(results: Results) -> Iterable[tuple[str, str, str]]:
    """Title, picture or '', table."""
    for number, parser in enumerate(dict.fromkeys(row["parser"] for row in results["asyncio"])):
        rows = [row for row in results["asyncio"] if row["parser"] == parser]
        title = f"Decisions a second by concurrent asyncio callers (times bare), redis-py with {_PARSERS[parser]}"
        yield title, "" if number else pictures.THROUGHPUT, across(rows, "callers", _rate)
    yield (
        "Decisions a second in lists, one asyncio caller (times bare)",
        "",
        across(results["hit_many"], "parser", _rate),
    )
    yield "Decisions a second, blocking, one thread (times bare)", "", across(results["blocking"], "parser", _rate)
    yield "One asyncio caller's wait in µs, median (times bare)", "", across(results["latency"], "parser", _wait)
    yield "Without a round trip, one asyncio caller: decisions a second, times limits", "", _local(results["local"])
    server = [{**row, "": _how(row)} for row in results["server_time"]]
    yield "Server time per decision in µs (times one GET and one SET)", "", across(server, "", _server)
    yield (
        "Server time by the height of the limit, times one GET and one SET: admitted / refused",
        pictures.SERVER_TIME,
        across(
            results["growth_limit"], "limit", lambda row: f"{row['ratio_admitted']:.2f} / {row['ratio_refused']:.2f}"
        ),
    )
    yield (
        "Server time by the number of tenants, times one GET and one SET",
        "",
        across(results["growth_keys"], "tenants", lambda row: f"{row['ratio_to_get_set']:.2f}"),
    )
    yield (
        "Bytes of a tenant whose limit is used up, without the keys' names (payload)",
        "",
        across(results["memory"], "limit", _bytes),
    )


_PARSERS: Final = {"python": "its own parser", "hiredis": "hiredis"}


def across(rows: Sequence[Row], column: str, cell: Cell) -> str:
    """A line a name, with the values of one column as headings."""
    heads = list(dict.fromkeys(row[column] for row in rows))
    lines: dict[str, dict[Any, str]] = {}
    for row in rows:
        lines.setdefault(str(row["name"]), {})[row[column]] = cell(row)
    return _markdown(
        [column, *(head if isinstance(head, str) else f"{head:,}" for head in heads)],
        [[name, *(cells.get(head, "") for head in heads)] for name, cells in lines.items()],
    )


def _local(rows: Sequence[Row]) -> str:
    lines = [[str(row["name"]), f"{row['ops_per_s']:,.0f}", f"{row['ratio_to_limits']:.1f}"] for row in rows]
    return _markdown(["", "decisions/s", "times limits"], lines)


def _rate(row: Row) -> str:
    return f"{row['ops_per_s']:,.0f} ({row['ratio_to_bare']:.2f})"


def _wait(row: Row) -> str:
    return f"{row['median_us']:,.0f} ({row['ratio_to_bare']:.2f})"


def _how(row: Row) -> str:
    return f"{row['outcome']}, {'alone' if row['decisions'] == 1 else row['decisions']}"


def _server(row: Row) -> str:
    return f"{row['us_per_decision']:.1f} ({row['ratio_to_get_set']:.2f})"


def _bytes(row: Row) -> str:
    return f"{row['memory'] - row['key_names']:,}" + (f" ({row['payload']:,})" if "payload" in row else "")


def _markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
