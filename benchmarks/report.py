"""Results as aligned text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

Row = dict[str, str | int | float]
"""One line of a table; the keys are the columns."""


def table(title: str, rows: list[Row]) -> str:
    """Text for a screen: names to the left, numbers to the right."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([_cell(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    left = [isinstance(rows[0].get(column), str) for column in columns]
    aligned = [
        "  ".join(
            text.ljust(width) if to_left else text.rjust(width)
            for text, width, to_left in zip(line, widths, left, strict=True)
        )
        for line in lines
    ]
    return "\n".join([title, "", *(f"  {line.rstrip()}" for line in aligned), ""])


def save(path: Path, results: dict[str, object]) -> None:
    """One JSON object in a file, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _cell(value: str | int | float) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value
