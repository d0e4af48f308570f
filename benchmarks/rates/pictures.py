"""Two pictures, as SVG: throughput against callers, and the server's time against the limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.command import Results
from benchmarks.report import Row

THROUGHPUT: Final = "rates-throughput.svg"
SERVER_TIME: Final = "rates-server-time.svg"

_STYLE: Final = {
    "svg.hashsalt": "riskscale",  # ids that do not change from one drawing to the next
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
}
_LINES: Final[dict[str, tuple[str, str]]] = {
    "riskscale gcra": ("#b03a2e", "-"),
    "riskscale sliding_log": ("#e67e22", "-"),
    "riskscale sliding_window": ("#d4ac0d", "-"),
    "riskscale fixed_window": ("#8e44ad", "-"),
    "riskscale gcra, coalesce=False": ("#b03a2e", ":"),
    "bare EVALSHA": ("#000000", "--"),
    "limits moving window": ("#1f618d", "-"),
    "limits sliding window": ("#5dade2", "-"),
    "throttled-py gcra": ("#117a65", "-"),
    "pyrate-limiter log": ("#7f8c8d", "-"),
}
"""What is drawn, in the order of the legend; warm colours are ours."""


def draw(results: Results, folder: Path) -> None:
    """Both, into a folder."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        _save(_throughput(results["asyncio"]), folder / THROUGHPUT)
        _save(_server_time(results["growth_limit"]), folder / SERVER_TIME)


def _throughput(rows: Sequence[Row]) -> Any:
    parsers = list(dict.fromkeys(row["parser"] for row in rows))
    figure, panels = _panels(len(parsers))
    for axes, parser in zip(panels, parsers, strict=True):
        own = [row for row in rows if row["parser"] == parser]
        _lines(axes, own, "callers", "ops_per_s")
        axes.set(
            title=f"redis-py with {'hiredis' if parser == 'hiredis' else 'its own parser'}",
            xlabel="concurrent callers, one event loop",
            xscale="log",
            yscale="log",
        )
        _ticks(axes.xaxis, sorted({row["callers"] for row in own}))
    panels[0].set_ylabel("decisions a second")
    _ticks(panels[0].yaxis, [n * 10**power for power in (3, 4, 5, 6) for n in (1, 2, 5)])
    _legend(figure, panels[-1])
    return figure


def _server_time(rows: Sequence[Row]) -> Any:
    figure, panels = _panels(2)
    for axes, outcome in zip(panels, ("admitted", "refused"), strict=True):
        _lines(axes, rows, "limit", f"ratio_{outcome}")
        axes.set(title=outcome, xlabel="limit, units a window", xscale="log")
        axes.set_ylim(bottom=0)
        _ticks(axes.xaxis, sorted({row["limit"] for row in rows}))
    panels[0].set_ylabel("server time of a decision,\ntimes that of one GET and one SET")
    _legend(figure, panels[-1])
    return figure


def _panels(count: int) -> tuple[Any, Sequence[Any]]:
    """A figure of its own: none of pyplot's state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 if count == 1 else 9.5, 3.8), layout="constrained")
    return figure, figure.subplots(1, count, sharey=True, squeeze=False)[0]


def _lines(axes: Any, rows: Sequence[Row], x: str, y: str) -> None:
    for name, (colour, dashes) in _LINES.items():
        points = [(row[x], row[y]) for row in rows if row["name"] == name]
        if points:
            axes.plot(*zip(*points, strict=True), dashes, color=colour, marker="o", markersize=3, label=name)


def _ticks(axis: Any, values: Iterable[Any]) -> None:
    """These alone, written out."""
    low, high = axis.get_view_interval()
    shown = [value for value in values if low <= value <= high]
    axis.set_ticks(shown, [f"{value:,}" for value in shown])
    axis.set_ticks([], minor=True)


def _legend(figure: Any, axes: Any) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
