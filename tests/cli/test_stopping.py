"""Signals: they wake a block that waits for them, and cancel any other; the first stops ``anyws serve`` gracefully."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import anyio
import pytest

import anyws
from anyws._cli.backends import BACKENDS
from anyws._cli.interrupts import recording_dropped_interrupts
from anyws._cli.stopping import stop_signals

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


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
async def test_the_previous_signal_handlers_are_restored(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    async with stop_signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
async def test_a_command_under_nohup_continues() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with stop_signals():
            signal.raise_signal(signal.SIGHUP)
            await anyio.lowlevel.checkpoint()
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_ctrl_c_that_the_interpreter_dropped_stops_the_command_before_it_begins() -> None:
    class Dropping:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def drop() -> None:
        Dropping()
        gc.collect()

    steps = []
    with recording_dropped_interrupts():
        drop()
        async with stop_signals():
            steps.append("begun")
            await anyio.sleep(30)
            steps.append("not reached")
    assert steps == ["begun"]
    async with stop_signals():
        await anyio.lowlevel.checkpoint()
        steps.append("the next one goes on")
    assert len(steps) == 2


STUBBORN = """\
import time
import anyio

async def swallows(websocket):
    await websocket.send("here")
    while True:
        try:
            await anyio.sleep(3600)
        except BaseException:
            await anyio.lowlevel.cancel_shielded_checkpoint()

async def shields(websocket):
    await websocket.send("here")
    with anyio.CancelScope(shield=True):
        await anyio.sleep(3600)

async def blocks(websocket):
    await websocket.send("here")
    await anyio.sleep(0.1)
    time.sleep(3600)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
def test_a_process_that_does_not_stop_is_terminated_after_a_second_signal(tmp_path: Path) -> None:
    """All at once, to wait only once."""

    async def stop(backend: str, handler: str) -> None:
        arguments = ("serve", "--port", 0, "--backend", backend, f"handlers:{handler}")
        with start_anyws(*arguments, cwd=tmp_path) as process:
            uri = await anyio.to_thread.run_sync(process.expect_line, "ws://")
            async with anyws.connect(uri, max_connecting=None) as websocket:
                assert await websocket.receive() == "here"
                await anyio.sleep(0.3)  # until it blocks
                for _ in range(2):
                    process.send_signal(signal.SIGTERM)
                    await anyio.sleep(0.2)
                begin = anyio.current_time()
                status, _, err = await anyio.to_thread.run_sync(process.finish)
                assert (status, anyio.current_time() - begin < 20) == (1, True)
                assert f"in {handler}" in err or handler != "blocks"  # where it hangs

    async def stop_all() -> None:
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                for backend in BACKENDS:
                    for handler in ("swallows", "shields", "blocks"):
                        tasks.start_soon(stop, backend, handler)

    (tmp_path / "handlers.py").write_text(STUBBORN)
    anyio.run(stop_all)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize("workers", [(), ("--workers", 1)], ids=["single", "workers"])
def test_closing_the_terminal_closes_connections_with_1001(workers: tuple[object, ...]) -> None:
    async def talk() -> None:
        with anyio.fail_after(LIMIT), start_anyws("serve", "--port", 0, *workers) as process:
            async with anyws.connect(process.expect_line("ws://")) as websocket:
                process.send_signal(signal.SIGHUP)
                with pytest.raises(anyws.ConnectionClosedOK):
                    await websocket.receive()
                assert websocket.close_code == 1001
            assert (await anyio.to_thread.run_sync(process.finish))[0] == 0

    anyio.run(talk)


async def stop_serving(backend: str, handler: str, folder: Path) -> tuple[int, str, str]:
    """Start ``anyws serve``, connect, send SIGTERM, expect 1001; return the exit status and what else was printed."""
    with start_anyws("serve", "--port", 0, "--backend", backend, f"handlers:{handler}", cwd=folder) as process:
        uri = await anyio.to_thread.run_sync(process.expect_line, "ws://")  # others close at the same time
        async with anyws.connect(uri) as websocket:
            process.send_signal(signal.SIGTERM)
            with pytest.raises(anyws.ConnectionClosedOK) as ended:
                await websocket.receive()
        assert ended.value.received == anyws.Close(1001, "the server is shutting down")
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
