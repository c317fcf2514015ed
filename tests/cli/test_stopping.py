"""Signals: who waits is asked, who does not is cancelled; ``anyws serve`` stops gracefully at the first."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from anyws.cli.backends import BACKENDS
from anyws.cli.stopping import stop_signals

from .commands import LIMIT, start_anyws

HANDLERS = """\
import time
import anyio
from anyio.lowlevel import checkpoint

async def tidy(websocket):
    async for _ in websocket:
        pass
    for _ in range(1000):
        await checkpoint()
    print("tidied up", flush=True)

async def stubborn(websocket):
    await websocket.wait_closed()
    begin = time.monotonic()
    try:
        await anyio.sleep_forever()
    finally:
        print(time.monotonic() - begin, flush=True)
"""


async def test_the_first_signal_ends_wait_and_the_second_cancels() -> None:
    steps = []
    async with stop_signals() as stop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop.wait)
            await anyio.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGTERM)
        steps.append("asked")
        signal.raise_signal(signal.SIGINT)
        await anyio.sleep(30)
        steps.append("not reached")
    assert steps == ["asked"]


async def test_without_support_there_are_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_signal_receiver(*signals: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(anyio, "open_signal_receiver", open_signal_receiver)
    async with stop_signals() as stop:
        with anyio.move_on_after(0):
            await stop.wait()
        stop.ask()
        await anyio.sleep(30)


async def stop_serving(backend: str, handler: str, folder: Path) -> tuple[int, str, str]:
    """Start ``anyws serve``, connect, send SIGTERM, expect 1001; return the exit status and what else was printed."""
    with start_anyws("serve", "--port", 0, "--backend", backend, f"handlers:{handler}", cwd=folder) as process:
        async with anyws.connect(process.expect_line("ws://")) as websocket:
            process.send_signal(signal.SIGTERM)
            with pytest.raises(anyws.ConnectionEnded) as ended:
                await websocket.receive()
        assert ended.value.received == anyws.Close(1001, "the server stops")
        return await anyio.to_thread.run_sync(process.finish)


@pytest.mark.parametrize("backend", BACKENDS)
def test_serve_stopped_by_sigterm_lets_handlers_end(backend: str, tmp_path: Path) -> None:
    async def stop() -> None:
        with anyio.fail_after(LIMIT):
            assert await stop_serving(backend, "tidy", tmp_path) == (0, "tidied up\n", "")

    (tmp_path / "handlers.py").write_text(HANDLERS)
    anyio.run(stop)


def test_serve_stopped_by_sigterm_cancels_handlers_after_three_seconds(tmp_path: Path) -> None:
    """On all backends at once, to wait only once."""

    async def stop(backend: str) -> None:
        status, out, err = await stop_serving(backend, "stubborn", tmp_path)
        assert (status, err) == (0, "")
        assert 2.5 < float(out) < LIMIT

    async def stop_all() -> None:
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                for backend in BACKENDS:
                    tasks.start_soon(stop, backend)

    (tmp_path / "handlers.py").write_text(HANDLERS)
    anyio.run(stop_all)
