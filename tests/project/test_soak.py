"""Short versions of the soak runs: nothing is left behind, and a leak is found."""

from __future__ import annotations

import functools
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import anyws
from anyws._cli import backends
from soak import connections, cycles, resources, storm
from soak.__main__ import main
from soak.resources import Failed, Resources, check_flat, check_released
from tests.conftest import needs_uvloop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is read from /proc")

each_backend = pytest.mark.parametrize("backend", ["asyncio", pytest.param("uvloop", marks=needs_uvloop), "trio"])


@each_backend
def test_connections(backend: str) -> None:
    figures = connections.run(backend, 60, 0.3, interval=0.1)
    assert int(figures["echoes"].partition(" ")[0]) >= 60


@each_backend
@pytest.mark.parametrize("limit", [None, 27])
def test_storm(backend: str, limit: int | None) -> None:
    figures = storm.run(backend, 110, 0.1, limit)
    assert ("x 503" in figures["storms"]) == (limit is not None)


def run_soak(*arguments: str) -> str:
    """Run it in a process of its own, for the memory of this one moves by itself; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "soak", *arguments], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@each_backend
def test_cycles(backend: str) -> None:
    count = 6 * len(cycles.SCENARIOS)
    printed = run_soak("cycles", "--cycles", str(count), "--backend", backend)
    assert f"    cycles: {count} in" in printed


@each_backend
def test_flood(backend: str) -> None:
    printed = run_soak("flood", "--connections", "1", "--seconds", "0.3", "--backend", backend)
    messages = re.search(r"messages: ([0-9]+)", printed)
    assert messages is not None, printed
    assert int(messages[1]) > 2


@each_backend
def test_unread(backend: str) -> None:
    printed = run_soak("unread", "--connections", "3", "--seconds", "0.5", "--backend", backend)
    assert "while nobody reads" in printed


@pytest.mark.parametrize("leak", [socket.socket, lambda: [[] for _ in range(10)], lambda: object.__new__(anyws.Server)])
def test_cycles_find_a_leak(leak: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(websocket: anyws.WebSocket) -> None:
        leaked.append(leak())
        await whole(websocket)

    leaked: list[Any] = []
    whole = cycles.handle
    monkeypatch.setattr(cycles, "handle", handle)
    monkeypatch.setattr(resources, "RELEASE_TIMEOUT", 0.1)
    try:
        with pytest.raises(Failed, match=r"released|objects"):
            backends.run("asyncio", functools.partial(cycles.run, 6 * len(cycles.SCENARIOS)))
    finally:
        for each in leaked:
            if isinstance(each, socket.socket):
                each.close()


def test_memory_that_grows_is_found() -> None:
    assert check_flat([0, 1, 2], [1000, 1090, 1100], bound=100) == pytest.approx(100)
    with pytest.raises(Failed, match="grew by 200 KiB, more than 100"):
        check_flat([0, 1, 2], [1000, 1100, 1200], bound=100)


def test_what_is_left_is_found() -> None:
    before = Resources(memory=1000, descriptors=10, tasks=3, objects=5000, anyws_objects=40, is_trio=False)
    check_released(before, before)
    for after in (
        replace(before, descriptors=11),
        replace(before, tasks=4),
        replace(before, objects=5400),
        replace(before, anyws_objects=41),
    ):
        with pytest.raises(Failed, match=r"released|objects"):
            check_released(before, after)


def test_the_command_names_its_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["everything"])
    assert "unknown: everything" in capsys.readouterr().err
