"""The benchmarks: what they draw of what was measured, and that it is what the documentation shows."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from benchmarks.loads import LOADS, Load
from benchmarks.plots import PLOTS, draw
from benchmarks.results import Result, Results
from benchmarks.servers import CONTESTANTS, ROOT, Contestant

STATIC = ROOT / "docs" / "_static"
PAGE = (ROOT / "docs" / "performance.md").read_text()
# What each plot has to show, of what the figures are wanted for.
SHOWN = {
    "cpu": {"rt64", "rt4k", "pipe64", "64k", "1m"},
    "tls": {"tls64", "tls1m"},
    "compression": {"json1k", "json64k"},
    "client": {"client-rt64"},
    "connection": {"handshakes", "broadcast", "memory"},
    "connections": {"conns1", "conns10000"},
    "sizes": {"size2", f"size{16 * 1024 * 1024}"},
}
SHOWN["rate"] = SHOWN["latency"] = SHOWN["cpu"]


def result(cpu: float) -> Result:
    """Return a measurement in which every figure tells which it is."""
    return Result(cpu=cpu, rate=cpu * 5, p50=cpu * 2, p99=cpu * 3, p999=cpu * 4, server=1.0, stolen=0.0, generator=0.5)


def measured(loads: list[Load], contestants: list[Contestant]) -> Results:
    """Return results of these loads, all different."""
    results = Results()
    for count, (load, each) in enumerate(itertools.product(loads, contestants), 1):
        if load.mode == "memory":
            results.add_memory(each, count)
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
    one_of_each_loop = list({each.loop: each for each in CONTESTANTS}.values())
    results = measured(list(LOADS.values()), one_of_each_loop)
    results.write(tmp_path, LOADS.values(), one_of_each_loop)
    kept = Results()
    kept.read(tmp_path / "speed.json")
    files = draw(tmp_path, kept, LOADS.values(), one_of_each_loop)
    assert [file.name for file in files] == [f"speed-{name}.svg" for name in PLOTS]
    for file, each in itertools.product(files, one_of_each_loop):
        assert f">{each.name}<" in file.read_text(), (file, each)


def test_a_plot_shows_each_contestant(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    loads = [LOADS["rt64"], LOADS["conns1"], LOADS["conns10"]]
    for file in draw(tmp_path, measured(loads, CONTESTANTS), loads, CONTESTANTS):
        for each in CONTESTANTS:
            assert f">{each.name}<" in file.read_text(), (file, each)


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


def test_one_module_for_each_contestant() -> None:
    """Each command runs a module that is there, among the servers as among the clients."""
    for each in CONTESTANTS:
        module = each.command(LOADS["rt64"].setting, Path())[2]
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), each
        client = module.replace("contestants", "clients")
        assert each.is_bare or (ROOT / f"{client.replace('.', '/')}.py").exists(), each
