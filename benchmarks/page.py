"""Puts the tables into docs/performance.md. ``python -m benchmarks.page`` does so with the latest results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .goals import goals_table
from .loads import LOADS
from .results import Results
from .servers import CONTESTANTS, ROOT
from .tables import LOOPS, cpu_table, faults_table, import_table, pauses_table

__all__ = ["PAGE", "RESULTS", "with_tables", "write_page"]

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
_BEGIN = "<!-- results: python -m benchmarks.page -->\n"
_END = "<!-- end of results -->\n"


def _sections(results: Results) -> Iterator[str]:
    loads = LOADS.values()
    if table := goals_table(results):
        yield f"### Goals\n\n{table}"
    for loop in LOOPS:
        if table := cpu_table(results, loop, loads, CONTESTANTS):
            yield f"### On {loop}\n\n{table}"
    for title, make in (
        ("Latency of a Ping on another connection, in milliseconds: median, 99th percentile, longest", pauses_table),
        ("Page faults per message", faults_table),
    ):
        tables = [(loop, make(results, loop, loads, CONTESTANTS)) for loop in LOOPS]
        if any(table for _, table in tables):
            yield f"### {title}"
            yield from (f"On {loop}:\n\n{table}" for loop, table in tables if table)
    if results.imports:
        yield f"### Imports\n\n{import_table(results)}"


def with_tables(page: str, results: Results) -> str:
    """Return the page with its tables replaced by those of the results."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page lacks {_BEGIN.strip()} or {_END.strip()}")
    return f"{before}{_BEGIN}\n" + "\n\n".join(_sections(results)) + f"\n\n{_END}{after}"


def write_page(page: Path, file: Path) -> None:
    """Put the results of a file into the page."""
    results = Results()
    results.read(file)
    page.write_text(with_tables(page.read_text(), results))


if __name__ == "__main__":
    write_page(PAGE, RESULTS)
