"""Signals stop a server: the first one gracefully, the second one at once; afterwards they mean what they meant."""

from __future__ import annotations

import functools
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread

import anyws
from tests.peers import echo

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@contextmanager
def handlers_restored() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
async def test_serve_shuts_down_gracefully(number: int, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        async for _ in websocket:
            pass
        done.set()

    done = anyio.Event()
    with handlers_restored(), caplog.at_level(logging.INFO, "anyws.server"):
        async with anyio.create_task_group() as tasks:
            serve = functools.partial(anyws.serve, stop_signals=SIGNALS)
            server: anyws.Server = await tasks.start(serve, handler, "127.0.0.1", 0)
            async with anyws.connect(server.uri) as websocket:
                signal.raise_signal(number)
                with pytest.raises(anyws.ConnectionClosedOK) as raised:
                    await websocket.receive()
                assert raised.value.code == 1001
            await server.wait_closed()
    assert done.is_set()
    assert caplog.messages == [f"received {signal.Signals(number).name}: shutting down"]


async def test_the_second_signal_cancels_the_handlers() -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            await websocket.wait_closed()
            signal.raise_signal(signal.SIGTERM)
            await anyio.sleep_forever()
        finally:
            is_handled.append(signal.getsignal(signal.SIGTERM) is not before)

    is_handled: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    with handlers_restored():
        async with anyio.create_task_group() as tasks:
            serve = functools.partial(anyws.serve, stop_signals=SIGNALS)
            server: anyws.Server = await tasks.start(serve, handler, "127.0.0.1", 0)
            async with anyws.connect(server.uri) as websocket:
                assert signal.getsignal(signal.SIGTERM) is not before
                signal.raise_signal(signal.SIGTERM)
                await websocket.wait_closed()
    assert is_handled == [False]  # from the second signal on, they mean what they meant before


async def test_a_block_waits_for_the_server_to_close() -> None:
    with handlers_restored():
        async with anyws.open_server(echo, "127.0.0.1", 0, stop_signals=[signal.SIGTERM]) as server:
            signal.raise_signal(signal.SIGTERM)
            await server.wait_closed()
            assert server.addresses == []


async def test_handlers_that_do_not_finish_are_cancelled_after_the_grace() -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    cancelled = anyio.Event()
    options: dict[str, Any] = {"stop_signals": SIGNALS, "stop_grace": 0}
    async with anyws.open_server(handler, "127.0.0.1", 0, **options) as server, anyws.connect(server.uri):
        signal.raise_signal(signal.SIGTERM)
        await server.wait_closed()
        assert cancelled.is_set()


async def test_a_grace_below_zero() -> None:
    with pytest.raises(ValueError, match="option stop_grace is -1: expected 0 or more"):
        await anyws.serve(echo, "127.0.0.1", 0, stop_grace=-1)


async def test_a_block_that_ends_first() -> None:
    with handlers_restored():
        async with anyws.open_server(echo, "127.0.0.1", 0, stop_signals=SIGNALS):
            pass


async def test_a_server_that_is_cancelled() -> None:
    with handlers_restored():
        async with anyio.create_task_group() as tasks:
            serve = functools.partial(anyws.serve, stop_signals=SIGNALS)
            await tasks.start(serve, echo, "127.0.0.1", 0)
            tasks.cancel_scope.cancel()


async def test_cancelled_while_it_shuts_down() -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.wait_closed()
        closed.set()
        await anyio.sleep_forever()

    closed = anyio.Event()
    with handlers_restored():
        async with anyio.create_task_group() as tasks:
            serve = functools.partial(anyws.serve, stop_signals=SIGNALS)
            server: anyws.Server = await tasks.start(serve, handler, "127.0.0.1", 0)
            async with anyws.connect(server.uri):
                signal.raise_signal(signal.SIGTERM)
                await closed.wait()
                tasks.cancel_scope.cancel()


async def test_a_server_of_the_callback_api() -> None:
    with handlers_restored():
        async with anyws.server(
            secure=False, listener_options={"host": "127.0.0.1"}, stop_signals=[signal.SIGTERM]
        ) as server:
            signal.raise_signal(signal.SIGTERM)
            await server.wait_closed()


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        ([12345], "option stop_signals contains 12345: expected signals, such as signal.SIGTERM"),
        (["SIGTERM"], "option stop_signals contains 'SIGTERM': expected signals, such as signal.SIGTERM"),
        ([signal.SIGKILL], "option stop_signals contains SIGKILL, which no program can handle"),
    ],
)
async def test_what_is_no_signal(signals: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        await anyws.serve(echo, "127.0.0.1", 0, stop_signals=signals)


async def test_another_thread() -> None:
    def run() -> None:
        with pytest.raises(RuntimeError, match="stop_signals requires the main thread, because"):
            anyws.run(echo, "127.0.0.1", 0)
        with pytest.raises(RuntimeError, match="stop_signals requires the main thread"):
            anyio.run(functools.partial(anyws.serve, echo, "127.0.0.1", 0, stop_signals=SIGNALS))

    await to_thread.run_sync(run)


async def test_run_in_an_event_loop() -> None:
    with pytest.raises(RuntimeError, match="starts an event loop, but one is already running: use `await anyws"):
        anyws.run(echo, "127.0.0.1", 0)


def test_run_on_an_unknown_event_loop() -> None:
    with pytest.raises(TypeError, match=r"run\(\): option backend must be Literal\['asyncio', 'trio'\], not str"):
        anyws.run(echo, "127.0.0.1", 0, backend="uvloop")  # type: ignore[arg-type]


PROGRAM = """
import logging, sys
import anyws

async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)

logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
anyws.run(echo, "127.0.0.1", 0, {})
print("stopped")
"""


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("backend", ["backend='asyncio'", "backend_options={'use_uvloop': True}", "backend='trio'"])
def test_a_program(backend: str, number: int) -> None:
    async def talk(line: str) -> None:
        uri = line.split()[2]
        async with anyws.connect(uri) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
            program.send_signal(number)
            await websocket.wait_closed()
            assert websocket.close_code == 1001

    if "uvloop" in backend:
        pytest.importorskip("uvloop")
    code = PROGRAM.format(backend)
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            assert line.startswith("listening on ws://127.0.0.1:")
            anyio.run(talk, line)
            out, err = program.communicate(timeout=30)
        finally:
            program.kill()
    assert out.splitlines()[-2:] == [f"received {signal.Signals(number).name}: shutting down", "stopped"]
    assert (err, program.returncode) == ("", 0)
