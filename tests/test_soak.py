"""The long and large runs of `soak`, short and small: nothing is left; and they do find a leak."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import anyws
from anyws.cli import backends
from soak import connections, cycles, flood, storm
from soak.__main__ import main
from soak.state import Failed, State, check_flat, check_gone

from .conftest import needs_uvloop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is read from /proc")

each_backend = pytest.mark.parametrize("backend", ["asyncio", pytest.param("uvloop", marks=needs_uvloop), "trio"])


@each_backend
def test_connections(backend: str) -> None:
    figures = connections.run(backend, 60, 0.5, interval=0.2)
    assert int(figures["echoes"].partition(" ")[0]) >= 60


@each_backend
def test_storm(backend: str) -> None:
    figures = storm.run(backend, 110, 0.2)
    assert "x 503" not in figures["storms, no limit"]
    assert "x 503" in figures["storms, max_connections=27"]


@each_backend
def test_cycles(backend: str) -> None:
    figures = backends.run(backend, functools.partial(cycles.run, 10 * len(cycles.WAYS)))
    assert figures["cycles"].startswith(f"{10 * len(cycles.WAYS)} in")


@each_backend
def test_flood(backend: str) -> None:
    figures = backends.run(backend, functools.partial(flood.run, 1, 0.5))
    assert int(figures["messages"].partition(" ")[0]) > 2


def _leaking(what: list[Any], make: Callable[[], Any]) -> Callable[[anyws.WebSocket], Any]:
    async def handle(websocket: anyws.WebSocket) -> None:
        what.append(make())
        await handle_without(websocket)

    handle_without = cycles.handle
    return handle


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: object.__new__(anyws.Server), "ours"),
        (lambda: {}, "objects"),
        (lambda: open("/dev/null"), "descriptors"),
    ],
)
def test_cycles_find_a_leak(make: Callable[[], Any], found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leaked: list[Any] = []
    monkeypatch.setattr(cycles, "handle", _leaking(leaked, make))
    with pytest.raises(Failed, match=found):
        backends.run("asyncio", functools.partial(cycles.run, 10 * len(cycles.WAYS)))
    for each in leaked:
        if found == "descriptors":
            each.close()


def test_memory_that_grows_is_found() -> None:
    assert check_flat([0, 1, 2], [1000, 1090, 1100], bound=100) == pytest.approx(100)
    with pytest.raises(Failed, match="grew by 200 KiB, more than 100"):
        check_flat([0, 1, 2], [1000, 1100, 1200], bound=100)


def test_what_is_left_is_found() -> None:
    before = State(memory=1000, descriptors=10, tasks=3, objects=5000, ours=40, is_trio=False)
    check_gone(before, before)
    for change in ({"descriptors": 11}, {"tasks": 4}, {"objects": 5100}, {"ours": 41}):
        (name,) = change
        with pytest.raises(Failed, match=name):
            check_gone(before, replace(before, **change))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flood", "--connections", "1", "--seconds", "0.2"]) == 0
    assert "    memory: " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["everything"])
    assert "unknown: everything" in capsys.readouterr().err
