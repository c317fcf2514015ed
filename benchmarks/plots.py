"""Plots of the results, as SVG."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .loads import Load
from .results import Result, Results, number
from .servers import Contestant

__all__ = ["draw"]

_COLOURS = {
    "anyws": "#d62728",
    "anyws-pure": "#ff9896",
    "anyws-zlib-ng": "#e377c2",
    "anyws-speed": "#ff7f0e",
    "picows": "#1f77b4",
    "aiohttp": "#2ca02c",
    "websockets": "#9467bd",
    "trio-websocket": "#8c564b",
    "bare-asyncio": "#bbbbbb",
    "bare-anyio": "#999999",
    "bare-await": "#aaaaaa",
    "bare-trio": "#777777",
}
_LOOPS = ("asyncio", "uvloop", "trio")
_SWEEPS = {"connections": "connections", "sizes": "bytes of a message"}


def draw(folder: Path, results: Results, loads: Sequence[Load], contestants: Sequence[Contestant]) -> list[Path]:
    """Draw what was measured; return the files. Without matplotlib there are none."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
    except ImportError:
        return []
    matplotlib.use("svg")
    settings = {"svg.hashsalt": "anyws", "svg.fonttype": "none", "font.size": 9}
    matplotlib.rcParams.update(settings)  # the same figures give the same file
    files: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    single = [load for load in loads if not load.sweep]
    for loop in _LOOPS:
        rows = [each for each in contestants if each.loop == loop]
        for name, label, value in (
            ("cpu", "server CPU, microseconds per message", lambda result: result.cpu),
            ("latency", "latency, microseconds: p50, and p99 as a line", lambda result: result.p50),
        ):
            path = folder / f"speed-{name}-{loop}.svg"
            if _bars(path, f"{label}; {loop}", results, single, rows, value, name == "latency"):
                files.append(path)
    for sweep, label in _SWEEPS.items():
        path = folder / f"speed-{sweep}.svg"
        if _curves(path, label, results, [load for load in loads if load.sweep == sweep], contestants):
            files.append(path)
    return files


def _bars(
    path: Path,
    label: str,
    results: Results,
    loads: Sequence[Load],
    contestants: Sequence[Contestant],
    value: Callable[[Result], float],
    tails: bool,
) -> bool:
    plt: Any = importlib.import_module("matplotlib.pyplot")
    found = [load for load in loads if any(results.median(load, each) for each in contestants)]
    if tails:
        found = [load for load in found if load.mode != "client"]
    if not found:
        return False
    columns = min(4, len(found))
    lines = -(-len(found) // columns)
    figure, all_axes = plt.subplots(
        lines, columns, figsize=(3.2 * columns, 2.4 * lines), squeeze=False, layout="constrained"
    )
    for axes in all_axes.flat[len(found) :]:
        axes.set_visible(False)
    for axes, load in zip(all_axes.flat, found, strict=False):
        rows = [(each.name, result) for each in contestants if (result := results.median(load, each))]
        names = [name for name, _ in rows]
        bars = axes.barh(names, [value(result) for _, result in rows], color=[_COLOURS[name] for name in names])
        axes.bar_label(bars, labels=[number(value(result)) for _, result in rows], padding=2, fontsize=7)
        if tails:
            for name, result in rows:
                axes.plot([result.p50, result.p99], [name, name], color="black", linewidth=1)
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_title(load.title.replace(", ", ",\n", 1), fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(label)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return True


def _curves(path: Path, label: str, results: Results, loads: Sequence[Load], contestants: Sequence[Contestant]) -> bool:
    plt: Any = importlib.import_module("matplotlib.pyplot")
    figure, all_axes = plt.subplots(1, len(_LOOPS), figsize=(12, 4), sharex=True, sharey=True, layout="constrained")
    has_any = False
    for loop, axes in zip(_LOOPS, all_axes, strict=True):
        for each in (each for each in contestants if each.loop == loop):
            points = [(load.x, result.cpu) for load in loads if (result := results.median(load, each))]
            if len(points) > 1:
                axes.plot(*zip(*points, strict=True), color=_COLOURS[each.name], marker=".", label=each.name)
                has_any = True
        axes.set(xscale="log", yscale="log", xlabel=f"{label}; {loop}")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7)
    all_axes[0].set_ylabel("server CPU, microseconds per message")
    if has_any:
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return has_any
