"""Puts the tables into docs/performance.md. ``python -m benchmarks.page`` does so with the latest results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from .goals import goals_table
from .loads import LOADS, UVICORN
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
    others = [each for each in CONTESTANTS if not each.is_asgi]
    for loop in LOOPS:
        if table := cpu_table(results, loop, loads, others):
            yield f"### On {loop}\n\n{table}"
    title = "Latency of a Ping on another connection, in milliseconds: median, 99th percentile, longest"
    yield from _of_all_loops(title, lambda loop: pauses_table(results, loop, loads, others))
    yield from _of_all_loops("Page faults per message", lambda loop: faults_table(results, loop, loads, others))
    asgi = [each for each in CONTESTANTS if each.is_asgi]
    in_uvicorn = [LOADS[name] for name in UVICORN]
    yield from _of_all_loops(
        "uvicorn with an ASGI application", lambda loop: cpu_table(results, loop, in_uvicorn, asgi)
    )
    if results.imports:
        yield f"### Imports\n\n{import_table(results)}"


def _of_all_loops(title: str, make: Callable[[str], str]) -> Iterator[str]:
    """Return a section with a table for each event loop; nothing if all are empty."""
    tables = [(loop, make(loop)) for loop in LOOPS]
    if any(table for _, table in tables):
        yield f"### {title}"
        yield from (f"On {loop}:\n\n{table}" for loop, table in tables if table)


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
