"""The results as tables in Markdown."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .loads import Load
from .results import Results, versions
from .servers import Contestant

__all__ = ["LOOPS", "cpu_table", "faults_table", "import_table", "number", "pauses_table", "report", "write_report"]

LOOPS = ("asyncio", "uvloop", "trio")
_MIN_FAULTS = 0.5  # for each message; loads in which no server has as many are left out


def number(value: float) -> str:
    """Format a number with about three digits; empty if it was not measured."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write_report(file: Path, results: Results, loads: Iterable[Load], contestants: Sequence[Contestant]) -> None:
    """Write all tables."""
    file.write_text(report(results, loads, contestants))


def report(results: Results, loads: Iterable[Load], contestants: Sequence[Contestant]) -> str:
    """Return all tables."""
    loads = list(loads)
    parts = [f"{versions()}; load average {os.getloadavg()[0]:.1f} at the end."]
    for title, table in (
        ("CPU per message on {}, microseconds; in parentheses the ratio to the best other library:", cpu_table),
        ("Latency of a Ping on another connection on {}, milliseconds: 50 %, 99 %, longest:", pauses_table),
        ("Page faults per message on {}:", faults_table),
    ):
        for loop in LOOPS:
            if rows := table(results, loop, loads, contestants):
                parts += [title.format(loop), rows]
    if results.imports:
        parts += ["CPU time of imports:", import_table(results)]
    parts.append(_details(results, loads, contestants))
    if results.skipped:
        parts += ["Not measured:", "\n".join(f"* {each}" for each in results.skipped)]
    return "\n\n".join(parts) + "\n"


def cpu_table(results: Results, loop: str, loads: Iterable[Load], contestants: Iterable[Contestant]) -> str:
    """Return the CPU time of each contestant for each load, with the memory of an idle connection."""
    contestants = list(contestants)

    def cell(load: Load, each: Contestant) -> str:
        if load.mode == "memory":
            memory = results.memory(each)
            return "" if memory is None else number(memory)
        result, best = results.median(load, each), results.best_peer(load, loop, contestants)
        ratio = f" ({result.cpu / best:.2f})" if result and best and each.name.startswith("anyws") else ""
        return number(result.cpu) + ratio if result else ""

    ordered = sorted(loads, key=lambda load: load.mode == "memory")
    return _table(loop, ordered, contestants, cell)


def pauses_table(results: Results, loop: str, loads: Iterable[Load], contestants: Iterable[Contestant]) -> str:
    """Return the latencies of Pings on another connection during a load, in milliseconds."""

    def cell(load: Load, each: Contestant) -> str:
        result = results.median(load, each)
        if result is None or math.isnan(result.ping50):
            return ""
        return " / ".join(number(value / 1000) for value in (result.ping50, result.ping99, result.ping_max))

    return _table(loop, loads, contestants, cell)


def faults_table(results: Results, loop: str, loads: Iterable[Load], contestants: Iterable[Contestant]) -> str:
    """Return the page faults for each message, for loads that have many."""
    contestants = list(contestants)

    def faults(load: Load, each: Contestant) -> float:
        result = results.median(load, each)
        return result.faults if result else math.nan

    many = [load for load in loads if any(faults(load, each) >= _MIN_FAULTS for each in contestants)]
    return _table(loop, many, contestants, lambda load, each: number(faults(load, each)))


def import_table(results: Results) -> str:
    """Return the CPU time of each import."""
    lines = ["| Import | CPU, ms |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {number(time)} |" for name, time in results.imports.items())])


def _table(
    loop: str, loads: Iterable[Load], contestants: Iterable[Contestant], cell: Callable[[Load, Contestant], str]
) -> str:
    """Return a table with a row for each load and a column for each contestant, without empty ones."""
    columns = [each for each in contestants if each.loop == loop]
    rows = {load: [cell(load, each) for each in columns] for load in loads}
    shown = [number for number in range(len(columns)) if any(cells[number] for cells in rows.values())]
    if not shown:
        return ""
    lines = [
        f"| Load | {' | '.join(columns[number].name for number in shown)} |",
        f"|---|{'--:|' * len(shown)}",
    ]
    for load, cells in rows.items():
        if any(cells):
            lines.append(f"| {load.title} | {' | '.join(cells[number] for number in shown)} |")
    return "\n".join(lines)


def _details(results: Results, loads: Sequence[Load], contestants: Sequence[Contestant]) -> str:
    lines = [
        "| Load | Server | On | Messages/s | p50, us | p99, us | p99.9, us | Server | Stolen | Generator | Faults |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for load in loads:
        for each in contestants:
            if result := results.median(load, each):
                figures = " | ".join(map(number, (result.rate, result.p50, result.p99, result.p999)))
                shares = f"{result.server:.0%} | {result.stolen:.0%} | {result.generator:.0%}"
                faults = number(result.faults)
                lines.append(f"| {load.name} | {each.name} | {each.loop} | {figures} | {shares} | {faults} |")
    return "\n".join(lines)
