"""The settings of uvicorn, its ways to run, and its shutdown."""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from anyio.lowlevel import checkpoint

import anyws
from anyws.asgi import websocket_of
from tests.cli.commands import LIMIT, start
from tests.frames import REQUEST
from tests.harness import listens
from tests.peers import CLOSE, TEXT, Frame, StreamPeer, close_payload

from .serving import Receive, Scope, Send, echo, serving

PROGRAM = """
import os

async def app(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{message['text']} from VERSION, process {os.getpid()}"})
"""


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_tls(
    http: str, certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext, tmp_path: Path
) -> None:
    certificate = certificate_authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    schemes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        schemes.append(scope["scheme"])
        await echo(scope, receive, send)

    async with (
        serving(app, http=http, ssl_certfile=tmp_path / "pem") as served,
        anyws.connect(served.uri, ssl_context=client_ssl_context) as websocket,
    ):
        for message in ("text", b"x" * 1_000_000):
            await websocket.send(message)
            assert await websocket.receive() == message
        await websocket.aclose()
        assert websocket.close_code == 1000
    assert schemes == ["wss"]


async def test_tls_of_a_violation_ends_cleanly(
    certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext, tmp_path: Path
) -> None:
    certificate = certificate_authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    async with (
        serving(echo, ssl_certfile=tmp_path / "pem", ws_max_size=100) as served,
        anyws.connect(served.uri, ssl_context=client_ssl_context) as websocket,
    ):
        await websocket.send("x" * 101)
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
        assert raised.value.code == 1009


async def test_compression_can_be_disabled() -> None:
    async with (
        serving(echo, ws_per_message_deflate=False) as served,
        anyws.connect(served.uri, compression=True) as websocket,
    ):
        assert "sec-websocket-extensions" not in websocket.response.headers


async def test_the_state_of_the_lifespan_is_copied() -> None:
    states: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["name"] = "value"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            states.append(dict(scope["state"]))
            scope["state"]["name"] = "changed"
            await echo(scope, receive, send)

    async with serving(app, lifespan="on") as served:
        for _ in range(2):
            async with anyws.connect(served.uri):
                pass
    assert states == [{"name": "value"}] * 2


async def test_a_request_that_is_no_opening_handshake_is_refused() -> None:
    async with serving(echo) as served, await anyio.connect_tcp("127.0.0.1", served.port) as stream:
        await stream.send(REQUEST.replace(b"Version: 13", b"Version: 8"))
        peer = StreamPeer(stream, "server")
        head = await peer.read_head()
        assert head.startswith(b"HTTP/1.1 426 ")
        await peer.rest()
        while served.server.server_state.connections:
            await checkpoint()


async def test_a_shutdown_closes_with_1012_after_what_was_sent() -> None:
    received: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "sent before"})
        received.append(await receive())

    async with anyio.create_task_group() as tasks, serving(app) as served, served.peer() as peer:
        assert (await peer.frame()).payload == b"sent before"
        tasks.start_soon(served.server.shutdown)
        assert await peer.frame() == Frame(CLOSE, close_payload(1012, ""))
        await peer.send(CLOSE, close_payload(1012, ""))
        assert await peer.rest() == b""
    assert received == [{"type": "websocket.disconnect", "code": 1012}]


async def test_a_shutdown_in_the_opening_handshake_responds_with_500() -> None:
    received: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.extend([await receive(), await receive()])

    async with serving(app) as served, await anyio.connect_tcp("127.0.0.1", served.port) as stream:
        await stream.send(REQUEST)
        while not received and not served.protocols:
            await checkpoint()
        await served.server.shutdown()
        assert (await StreamPeer(stream, "server").read_head()).startswith(b"HTTP/1.1 500 ")
    assert received == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]


async def test_a_shutdown_waits_for_the_applications_task() -> None:
    ended = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)
        for _ in range(20):
            await checkpoint()
        ended.append(True)

    async with serving(app) as served, anyws.connect(served.uri) as websocket:
        await websocket.send("x")
        await websocket.receive()
        assert len(served.server.server_state.tasks) == 1
    assert ended == [True]
    assert not served.server.server_state.tasks
    assert not served.server.server_state.connections


async def test_the_task_is_cancelled_when_the_graceful_shutdown_takes_too_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await anyio.sleep_forever()

    async with serving(app, timeout_graceful_shutdown=0) as served:
        async with anyws.connect(served.uri):
            pass
        tasks = list(served.server.server_state.tasks)
        await served.server.shutdown()
        for task in tasks:
            await task
    assert "timeout graceful shutdown exceeded" in caplog.text


async def test_an_acceptance_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uvicorn.error")
    async with serving(echo) as served, anyws.connect(f"{served.uri}/a%20b?c=d"):
        pass
    lines = [record.getMessage() for record in caplog.records]
    assert any(re.fullmatch(r'127\.0\.0\.1:\d+ - "WebSocket /a%20b\?c=d" \[accepted\]', line) for line in lines), lines


async def test_the_trace_level_shows_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "uvicorn.error")
    async with serving(echo) as served, anyws.connect(served.uri):
        pass
    lines = " ".join(record.getMessage() for record in caplog.records)
    assert "WebSocket connection made" in lines
    assert "WebSocket connection lost" in lines


@pytest.mark.parametrize("options", [["--workers", "2"], ["--reload"], ["--loop", "asyncio", "--http", "h11"]])
def test_the_command_line(options: list[str], tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("VERSION", "one"))
    command = [sys.executable, "-m", "uvicorn", "--ws", "anyws.uvicorn:Protocol", "--port", "0", "program:app"]
    with start([*command, *options], cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        line = next(line for line in lines if "Uvicorn running on http" in line)
        uri = "ws" + line.partition("http")[2].split()[0]
        port = int(uri.rpartition(":")[2])
        assert listens(port, process.poll, LIMIT)

        async def ask() -> str:
            with anyio.fail_after(LIMIT):
                async with anyws.connect(uri) as websocket:
                    await websocket.send("hello")
                    return str(await websocket.receive())

        assert anyio.run(ask).startswith("hello from one, process ")
        if options == ["--reload"]:
            assert any("Started server process" in line for line in lines)
            program.write_text(PROGRAM.replace("VERSION", "two"))
            _touch_until_noticed(program, lines)
            assert any("Started server process" in line for line in lines)
            assert anyio.run(ask).startswith("hello from two, process ")
        process.send_signal(signal.SIGINT)
        process.finish()


def _touch_until_noticed(program: Path, lines: Iterator[str]) -> None:
    """Change the time of a file until uvicorn notices; it ignores a change before it has looked for the first time."""
    noticed = threading.Event()

    def touch() -> None:
        for seconds in itertools.count(program.stat().st_mtime + 1):  # uvicorn looks for a later time
            os.utime(program, (seconds, seconds))
            if noticed.wait(1):
                return

    with ThreadPoolExecutor(1) as executor:
        touched = executor.submit(touch)
        try:
            assert any("detected changes" in line for line in lines)
        finally:
            noticed.set()
        touched.result()


def test_an_old_uvicorn_is_refused(tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text('__version__ = "0.36.1"\n')
    said = _import_with(tmp_path)
    assert "ImportError: uvicorn 0.36.1 is installed, but anyws.uvicorn requires uvicorn 0.53 or later" in said


def test_without_uvicorn_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text('raise ModuleNotFoundError("No module named \'uvicorn\'", name="uvicorn")\n')
    said = _import_with(tmp_path)
    assert "ImportError: anyws.uvicorn requires uvicorn: pip install 'anyio-websocket[uvicorn]'" in said


def _import_with(folder: Path) -> str:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import anyws.uvicorn"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    return done.stderr


# -- the connection behind a scope -------------------------------------------------------------------------------------


async def test_the_connection_behind_a_scope() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(RuntimeError, match="not accepted yet"):
            websocket_of(scope)
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "v1"})
        websocket = websocket_of(dict(scope))  # middleware copies scopes
        assert (websocket.request.path, websocket.subprotocol) == ("/path", "v1")
        await websocket.send("first")
        await send({"type": "websocket.send", "text": "second"})
        assert await websocket.ping() < LIMIT
        websocket.send_nowait(b"third")
        await receive()

    async with serving(app) as served, anyws.connect(f"{served.uri}/path", subprotocols=["v1"]) as websocket:
        assert [await websocket.receive() for _ in range(3)] == ["first", "second", b"third"]


async def test_an_application_may_close_through_the_connection() -> None:
    received: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await websocket_of(scope).aclose(4002, "done")
        received.append(await receive())

    async with serving(app) as served, served.peer() as peer:
        assert (await peer.frame()).close_code == 4002
        await peer.send(CLOSE, close_payload(4002, "done"))
        await peer.rest()
    assert received == [{"type": "websocket.disconnect", "code": 4002, "reason": "done"}]


async def test_another_protocol_has_no_connection_behind_its_scope() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(LookupError, match=r"uvicorn --ws anyws\.uvicorn:Protocol"):
            websocket_of(scope)
        await send({"type": "websocket.send", "text": "checked"})

    async with serving(app, ws="websockets-sansio") as served, served.peer() as peer:
        assert (await peer.frame()).opcode == TEXT
