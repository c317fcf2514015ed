"""The benchmarks: what they measure, the tables and plots of it, and that the documentation shows them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import mmap
import os
import re
from pathlib import Path
from typing import Any

import pytest

from anyws.protocol.default_zlib import default_zlib, is_zlib_ng
from benchmarks.cpu import usage
from benchmarks.generator import NoGenerator, compiled, generator
from benchmarks.goals import GOALS
from benchmarks.imports import STATEMENTS, measure_imports
from benchmarks.loads import LOADS, Load
from benchmarks.page import PAGE as PAGE_FILE, RESULTS, with_tables
from benchmarks.plots import PLOTS, draw
from benchmarks.results import Result, Results
from benchmarks.servers import CONTESTANTS, ROOT, Contestant, started
from benchmarks.tables import report

STATIC = ROOT / "docs" / "_static"
PAGE = PAGE_FILE.read_text()
# What each plot has to show, of what the figures are wanted for.
SHOWN = {
    "cpu": {"rt64", "rt4k", "pipe64", "64k", "1m"},
    "tls": {"tls64", "tls1m"},
    "compression": {"json1k", "json4k", "json64k"},
    "client": {"client-rt64"},
    "connection": {"handshakes", "broadcast", "broadcast10k", "memory"},
    "connections": {"conns1", "conns10000"},
    "sizes": {"size2", f"size{16 * 1024 * 1024}"},
    "uvicorn": {"rt64x1", "rt64", "pipe64", "broadcast"},
}
SHOWN["rate"] = SHOWN["latency"] = SHOWN["cpu"]


def result(cpu: float) -> Result:
    """Return a measurement in which every figure tells which it is."""
    return Result(
        cpu=cpu,
        rate=cpu * 5,
        p50=cpu * 2,
        p99=cpu * 3,
        p999=cpu * 4,
        server=1.0,
        stolen=0.0,
        generator=0.5,
        faults=cpu * 6,
        ping50=cpu * 7000,
        ping99=cpu * 8000,
        ping_max=cpu * 9000,
    )


def measured(loads: list[Load], contestants: list[Contestant]) -> Results:
    """Return results of these loads, all different."""
    results = Results()
    for count, (load, each) in enumerate(itertools.product(loads, contestants), 1):
        if load.mode == "memory":
            results.add_memory(each, count)
        elif load.mode == "import":
            results.imports = {name: number for number, name in enumerate(STATEMENTS, 1)}
        else:
            results.add(load, each, result(count))
    return results


def test_each_plot_shows_what_it_is_for() -> None:
    assert PLOTS.keys() == SHOWN.keys()
    for name, plot in PLOTS.items():
        assert SHOWN[name] <= set(plot.loads) <= LOADS.keys(), name
    assert PLOTS["cpu"].values(result(5)) == (5,)
    assert PLOTS["rate"].values(result(5)) == (25,)
    assert PLOTS["latency"].values(result(5)) == (10, 15, 20)


def test_the_page_shows_each_plot() -> None:
    shown = re.findall(r"!\[.+\]\(_static/(speed-.+?\.svg)\)", PAGE)
    assert sorted(shown) == sorted(f"speed-{name}.svg" for name in PLOTS)
    assert {file.name for file in STATIC.glob("speed-*")} == set(shown)


def test_the_page_names_each_contestant() -> None:
    for each in CONTESTANTS:
        assert each.name in PAGE, each


def test_all_plots_come_from_the_results_alone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    some = [each for each in CONTESTANTS if each.name in ("anyws", "uvicorn")]
    results = measured(list(LOADS.values()), some)
    results.write(tmp_path / "speed.json")
    kept = Results()
    kept.read(tmp_path / "speed.json")
    files = draw(tmp_path, kept, LOADS.values(), some)
    assert [file.name for file in files] == [f"speed-{name}.svg" for name in PLOTS]
    for file, each in itertools.product(files, some):
        assert (f">{each.name}<" in file.read_text()) == (each.is_asgi == (file.name == "speed-uvicorn.svg")), (
            file,
            each,
        )


def test_a_plot_shows_each_contestant(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    loads = [LOADS["rt64"], LOADS["conns1"], LOADS["conns10"]]
    for file in draw(tmp_path, measured(loads, CONTESTANTS), loads, CONTESTANTS):
        for each in CONTESTANTS:
            assert (f">{each.name}<" in file.read_text()) == (each.is_asgi == (file.name == "speed-uvicorn.svg"))


def test_the_page_compares_what_runs_in_uvicorn_in_a_table_of_its_own() -> None:
    page = with_tables(PAGE, measured([LOADS["rt64"], LOADS["rt4k"]], CONTESTANTS))
    before, _, after = page.partition("### uvicorn with an ASGI application\n")
    assert "| uvicorn |" not in before
    table, _, _ = after.partition("<!-- end of results -->")
    assert table.count("| anyws-uvicorn | uvicorn | uvicorn-wsproto |") == 2
    assert "4 KiB" not in table


def test_the_same_results_give_the_same_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    loads = [LOADS["memory"], LOADS["conns1"], LOADS["conns10"]]
    results = measured(loads, CONTESTANTS)
    one, other = (draw(tmp_path / folder, results, loads, CONTESTANTS) for folder in ("one", "other"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]
    assert len(one) == 2


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    contestant = next(each for each in CONTESTANTS if each.name == "anyws")
    results = measured([LOADS["rt64"], LOADS["handshakes"]], [contestant])
    files = {file.name: file.read_text() for file in draw(tmp_path, results, LOADS.values(), CONTESTANTS)}
    assert files.keys() == {"speed-cpu.svg", "speed-rate.svg", "speed-latency.svg", "speed-connection.svg"}
    assert "32 connections" in files["speed-cpu.svg"]
    assert "4 KiB round trip" not in files["speed-cpu.svg"]
    assert ">anyws<" in files["speed-cpu.svg"]
    assert "picows" not in files["speed-cpu.svg"]
    assert draw(tmp_path, Results(), LOADS.values(), CONTESTANTS) == []


# -- the tables --------------------------------------------------------------------------------------------------------


def test_the_page_has_the_tables_of_the_committed_results() -> None:
    """If this fails, run ``python -m benchmarks.page``."""
    results = Results()
    results.read(RESULTS)
    assert with_tables(PAGE, results) == PAGE


@pytest.mark.parametrize("written", ["report", "page"])
def test_the_tables_show_all_that_was_measured(written: str, tmp_path: Path) -> None:
    loads, loop = [LOADS["rt64"], LOADS["broadcast10k"], LOADS["memory"], LOADS["import"]], "uvloop"
    contestants = [each for each in CONTESTANTS if each.loop == loop and each.name in ("anyws", "picows")]
    measured(loads, contestants).write(tmp_path / "speed.json")
    results = Results()
    results.read(tmp_path / "speed.json")
    text = report(results, loads, contestants) if written == "report" else with_tables(PAGE, results)
    lines = text.splitlines()
    receivers = "| 64 B broadcast to 10,000 connections, for each that gets it"
    assert "| Load | anyws | picows |" in lines
    assert "| 64 B round trip, 32 connections | 1.00 (0.50) | 2.00 |" in lines
    assert f"{receivers} | 3.00 (0.75) | 4.00 |" in lines
    assert f"{receivers} | 21.0 / 24.0 / 27.0 | 28.0 / 32.0 / 36.0 |" in lines  # Pings, in milliseconds
    assert f"{receivers} | 18.0 | 24.0 |" in lines  # page faults
    assert "| memory of an idle connection, KiB | 5.00 | 6.00 |" in lines
    assert {f"| {name} | {number:#.3g} |" for number, name in enumerate(STATEMENTS, 1)} <= set(lines)


def test_the_page_compares_the_results_with_the_goals(tmp_path: Path) -> None:
    loads = [LOADS[name] for name in ("rt64", "broadcast", "broadcast10k", "memory")]
    contestants = [each for each in CONTESTANTS if each.loop == "uvloop" and each.name in ("anyws", "picows")]
    text = with_tables(PAGE, measured(loads, contestants))
    times = "\N{MULTIPLICATION SIGN}"
    limits = f"1.1 {times} picows, 1 {times} picows-websockets, 0.45 {times} websockets"
    for row in (
        f"64 B and 4 KiB round trips, asyncio and uvloop | at most {limits} | 0.50 {times} picows",
        f"broadcast to 10,000, each event loop | at most 1.2 {times} that to 1,000 | 1.67 {times} that to 1,000",
        "memory of an idle connection, each event loop | at most 10 KiB | 7.00 KiB",
        "longest Ping during a broadcast to 10,000, each event loop | at most 20 ms | 45.0 ms",
    ):
        assert f"| {row} |" in text.splitlines()


def test_goals_name_loads_and_contestants() -> None:
    names = {each.name for each in CONTESTANTS}
    for goal in GOALS:
        assert {*goal.loads} <= LOADS.keys()
        assert {goal.contestant} <= names
        assert goal.limits.keys() <= names | LOADS.keys()


def test_figures_that_were_not_measured_leave_no_table() -> None:
    results = Results()
    load, contestant = LOADS["rt64"], Contestant("anyws", "asyncio")
    nothing = dict.fromkeys(("faults", "ping50", "ping99", "ping_max"), math.nan)
    results.add(load, contestant, dataclasses.replace(result(1), **nothing))
    text = report(results, [load], [contestant])
    assert "CPU per message on asyncio" in text
    assert not any(word in text for word in ("Ping", "faults per", "imports", "uvloop,"))


# -- measuring ---------------------------------------------------------------------------------------------------------


def test_page_faults_are_counted() -> None:
    before = usage(os.getpid()).faults
    with mmap.mmap(-1, 100 * mmap.PAGESIZE) as memory:
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        for start in range(0, len(memory), mmap.PAGESIZE):
            memory[start] = 1
    assert usage(os.getpid()).faults - before >= 100


def test_imports_are_measured_by_name() -> None:
    statements = {"nothing": "pass", "decimal": "import decimal"}
    assert measure_imports(1, statements).keys() == statements.keys()
    with pytest.raises(RuntimeError, match="failed: import nowhere"):
        measure_imports(1, {"nowhere": "import nowhere"})
    assert {"anyws", "websockets", "aiohttp", "picows"} <= STATEMENTS.keys()


def test_pings_are_measured_during_a_broadcast(tmp_path: Path) -> None:
    """Every Ping is answered, while all connections get the messages."""
    load = dataclasses.replace(LOADS["broadcast"], connections=3)
    contestant = Contestant("anyws", "asyncio")
    try:
        program = compiled("load.c", tmp_path)
    except NoGenerator as exc:
        pytest.skip(str(exc))
    frames, _, request = load.write(tmp_path)
    with (tmp_path / "log").open("wb") as log, started(contestant, load.setting, tmp_path, None, log) as server:
        command = [program, load.mode, server.port, load.connections, load.in_flight, 0.05, frames, request]
        with generator(list(map(str, command)), None) as ready:
            outcome = ready.run()
    assert outcome.messages
    assert outcome.messages % load.connections == 0
    median, high, longest = outcome.pings
    assert 0 < median <= high
    assert high <= longest * 1.04  # percentiles are rounded up by at most 3 %


def test_anyws_and_websockets_compress_with_equal_parameters() -> None:
    anyws: Any = pytest.importorskip("benchmarks.contestants.anyws")
    websockets: Any = pytest.importorskip("benchmarks.contestants.websockets")
    [theirs] = websockets.extensions("equal")
    for ours in (anyws.COMPRESSIONS["equal"], anyws.COMPRESSIONS["equal-zlib-ng"]):
        assert ours.server_max_window_bits == theirs.server_max_window_bits
        assert ours.client_max_window_bits == theirs.client_max_window_bits
        assert theirs.compress_settings == {"level": ours.level, "memLevel": ours.mem_level}
    assert anyws.COMPRESSIONS["equal"].library.__name__ == "zlib"
    if is_zlib_ng(default_zlib()):
        assert anyws.COMPRESSIONS["equal-zlib-ng"].library is default_zlib()
    used = {each.name: each.command(LOADS["json4k"].setting, Path()) for each in CONTESTANTS}
    assert "equal" in used["anyws"]
    assert "equal" in used["websockets"]
    assert "equal-zlib-ng" in used["anyws-zlib-ng"]


def test_one_module_for_each_contestant() -> None:
    """Each command runs a module that is there, among the servers as among the clients."""
    for each in CONTESTANTS:
        module = each.command(LOADS["rt64"].setting, Path())[2]
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), each
        client = module.replace("contestants", "clients")
        assert each.is_bare or each.is_asgi or (ROOT / f"{client.replace('.', '/')}.py").exists(), each
