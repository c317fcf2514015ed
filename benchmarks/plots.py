"""Plots of the results, as SVG. ``python -m benchmarks.plots`` draws them from the latest results."""

from __future__ import annotations

import argparse
import importlib
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .loads import GROUPS, LOADS, UVICORN, Load
from .results import Result, Results
from .servers import CONTESTANTS, ROOT, Contestant
from .tables import number

__all__ = ["PLOTS", "Plot", "draw"]

_COLOURS = {
    "anyws": "#d62728",
    "anyws-callbacks": "#8b0000",
    "anyws-pure": "#ff9896",
    "anyws-topics": "#f4a6c0",
    "anyws-zlib-ng": "#e377c2",
    "anyws-speed": "#ff7f0e",
    "picows": "#1f77b4",
    "picows-websockets": "#17becf",
    "aiohttp": "#2ca02c",
    "websockets": "#9467bd",
    "trio-websocket": "#8c564b",
    "anyws-uvicorn": "#bc5090",
    "uvicorn": "#bcbd22",
    "uvicorn-wsproto": "#dbdb8d",
    "bare-asyncio": "#bbbbbb",
    "bare-anyio": "#999999",
    "bare-await": "#aaaaaa",
    "bare-trio": "#777777",
}
_LOOPS = ("asyncio", "uvloop", "trio")
_PANEL, _HEAD, _BAR = 3.4, 0.55, 0.19  # inches: width of a panel, height above its bars, height of a bar
_TITLE, _SMALL = 44, 7  # characters per line, points
_PERCENTILES = {"50 %": "o", "99 %": "d", "99.9 %": "|"}  # percentiles and their markers


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with a panel for each load and event loop, or for curves, one for each event loop.

    Attributes:
        title: the title, with the unit.
        loads: the names of the loads.
        values: returns the figures to show: one as a bar, several as points.
        x: the label of the horizontal axis of curves; empty for bars and points.
        is_asgi: whether it shows the ASGI servers instead of all others.
    """

    title: str
    loads: Sequence[str]
    values: Callable[[Result], tuple[float, ...]] = lambda result: (result.cpu,)
    x: str = ""
    is_asgi: bool = False


def _names(group: str) -> list[str]:
    return [load.name for load in GROUPS[group]]


_MESSAGES = ("rt64", "rt4k", "pipe64", "64k", "1m")
PLOTS = {
    "cpu": Plot("CPU of a server for each message, microseconds", _MESSAGES),
    "rate": Plot("Messages per second of a server on one core", _MESSAGES, lambda result: (result.rate,)),
    "latency": Plot(
        "Latency of a round trip, microseconds", _MESSAGES, lambda result: (result.p50, result.p99, result.p999)
    ),
    "tls": Plot("TLS: CPU of a server for each message, microseconds", _names("tls")),
    "compression": Plot("permessage-deflate: CPU of a server for each message, microseconds", _names("deflate")),
    "client": Plot("CPU of a client for each message, microseconds", _names("client")),
    "connection": Plot(
        "CPU of a server, microseconds, and memory", [*_names("handshakes"), *_names("broadcasts"), *_names("memory")]
    ),
    "connections": Plot(
        "CPU of a server for each message of 64 B, microseconds",
        [*_names("connections"), *_names("crowd")],
        x="connections",
    ),
    "sizes": Plot("CPU of a server for each message, microseconds", _names("sizes"), x="bytes of a message"),
    "uvicorn": Plot("Inside uvicorn: CPU for each message, microseconds", UVICORN, is_asgi=True),
}
"""All plots, by the names of their files."""


def draw(folder: Path, results: Results, loads: Iterable[Load], contestants: Sequence[Contestant]) -> list[Path]:
    """Draw the results for the loads, and return the files. Without matplotlib, draw nothing."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
    except ImportError:
        return []
    matplotlib.use("svg")
    settings = {"svg.hashsalt": "anyws", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 8}
    matplotlib.rcParams.update(settings)  # makes the files reproducible
    folder.mkdir(parents=True, exist_ok=True)
    plt: Any = importlib.import_module("matplotlib.pyplot")
    names = {load.name for load in loads}
    files: list[Path] = []
    for name, plot in PLOTS.items():
        chosen = [LOADS[each] for each in plot.loads if each in names]
        shown = [each for each in contestants if each.is_asgi == plot.is_asgi]
        figure = (_curves if plot.x else _bars)(plt, plot, results, chosen, shown)
        if figure is not None:
            figure.suptitle(plot.title, fontsize=10)
            files.append(folder / f"speed-{name}.svg")
            figure.savefig(files[-1], metadata={"Date": None})
            plt.close(figure)
    return files


def _cell(
    plot: Plot, results: Results, load: Load, loop: str, contestants: Iterable[Contestant]
) -> dict[str, tuple[float, ...]]:
    """Return the figures for one panel, by contestant."""
    found: dict[str, tuple[float, ...]] = {}
    for each in (each for each in contestants if each.loop == loop):
        memory = results.memory(each) if load.mode == "memory" else None
        result = results.median(load, each)
        if memory is not None:
            found[each.name] = (memory,)
        elif result is not None:
            found[each.name] = plot.values(result)
    return found


def _bars(
    plt: Any, plot: Plot, results: Results, loads: Sequence[Load], contestants: Sequence[Contestant]
) -> Any | None:
    cells = {(load, loop): _cell(plot, results, load, loop, contestants) for load in loads for loop in _LOOPS}
    rows = [load for load in loads if any(cells[load, loop] for loop in _LOOPS)]
    columns = [loop for loop in _LOOPS if any(cells[load, loop] for load in rows)]
    if not rows:
        return None
    bars = [max(len(cells[load, loop]) for loop in columns) for load in rows]
    heights = [_HEAD + _BAR * count for count in bars]
    figure, grid = plt.subplots(
        len(rows),
        len(columns),
        figsize=(_PANEL * len(columns), sum(heights) + 0.3),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for load, count, line in zip(rows, bars, grid, strict=True):
        for loop, axes in zip(columns, line, strict=True):
            cell = cells[load, loop]
            axes.set_title(textwrap.fill(f"{loop}: {load.title}", _TITLE))
            axes.spines[["top", "right", "bottom"]].set_visible(False)
            axes.tick_params(axis="y", length=0, labelsize=8)
            (_bar_of_each if all(len(values) == 1 for values in cell.values()) else _points_of_each)(axes, cell)
            axes.set_xticks([])
            axes.set_ylim(count - 0.5, -0.5)  # top-down, with the same scale in all columns
    markers = [line for line in grid[0, 0].lines if line.get_marker() != "None"][: len(_PERCENTILES)]
    if markers:
        figure.legend(markers, _PERCENTILES, loc="outside lower center", ncols=len(markers), fontsize=8)
    return figure


def _bar_of_each(axes: Any, cell: dict[str, tuple[float, ...]]) -> None:
    values = [value for (value,) in cell.values()]
    bars = axes.barh(list(cell), values, color=[_COLOURS[name] for name in cell])
    axes.bar_label(bars, labels=list(map(number, values)), padding=2, fontsize=_SMALL)
    axes.margins(x=0.3)


def _points_of_each(axes: Any, cell: dict[str, tuple[float, ...]]) -> None:
    for name, values in cell.items():
        for value, marker in zip(values, _PERCENTILES.values(), strict=True):
            axes.plot([value], [name], marker, color=_COLOURS[name], markersize=5)
        axes.plot([values[0], values[-1]], [name, name], color=_COLOURS[name], linewidth=1)
        axes.annotate(
            " / ".join(map(number, values)),
            (values[-1], name),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
        )
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.margins(x=0.5)


def _curves(
    plt: Any, plot: Plot, results: Results, loads: Sequence[Load], contestants: Sequence[Contestant]
) -> Any | None:
    figure, grid = plt.subplots(
        1, len(_LOOPS), figsize=(_PANEL * len(_LOOPS), 4.2), sharex=True, sharey=True, layout="constrained"
    )
    lines: dict[str, Any] = {}
    for loop, axes in zip(_LOOPS, grid, strict=True):
        for each in (each for each in contestants if each.loop == loop):
            points = [(load.x, result.cpu) for load in loads if (result := results.median(load, each))]
            if len(points) > 1:
                style: dict[str, Any] = {"linestyle": "--"} if each.is_bare else {}
                style["linewidth"] = 2 if each.name == "anyws" else 1
                (line,) = axes.plot(*zip(*points, strict=True), color=_COLOURS[each.name], marker=".", **style)
                lines.setdefault(each.name, line)
        axes.set(xscale="log", yscale="log", xlabel=plot.x, title=loop)
        axes.set_xticks([load.x for load in loads], [_short(load.x) for load in loads], fontsize=_SMALL, rotation=45)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    if not lines:
        plt.close(figure)
        return None
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=-(-len(lines) // 2), fontsize=8)
    return figure


def _short(count: int) -> str:
    """Format a round number briefly: 65,536 as 64 Ki, 10,000 as 10 k."""
    for unit, size in (("Mi", 1024 * 1024), ("Ki", 1024), ("k", 1000)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return str(count)


def main() -> None:
    """Draw all plots."""
    parser = argparse.ArgumentParser(prog="benchmarks.plots", description="Draw the latest results, without measuring.")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "speed.json")
    parser.add_argument("--plots", type=Path, default=ROOT / "docs" / "_static", help="folder for the plots")
    options = parser.parse_args()
    results = Results()
    results.read(options.results)
    for file in draw(options.plots, results, LOADS.values(), CONTESTANTS):
        print(file)


if __name__ == "__main__":
    main()
