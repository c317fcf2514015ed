"""A server's responses and logs: one line for a fault of the client, a traceback for one of ours."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

import anyws
from tests.conftest import needs_uvloop
from tests.harness import await_a_cancelled_task
from tests.peers import REQUEST, TEXT, StreamPeer, echo, ended, uri_of
from tests.test_stray_cancellation import on_asyncio

PLAIN = b"GET /health?token=secret HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def raw_client(server: anyws.Server) -> AsyncIterator[SocketStream]:
    """Connect without anyws."""
    async with await anyio.connect_tcp(*server.addresses[0][:2]) as stream:
        yield stream


async def answer_to(server: anyws.Server, data: bytes) -> bytes:
    """Return all that a server answers before it ends the connection."""
    async with raw_client(server) as stream:
        await stream.send(data)
        return await StreamPeer(stream, "server").rest()


async def check_serves(server: anyws.Server) -> None:
    """Check that the server goes on."""
    async with anyws.connect(uri_of(server)) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hello"


# -- answers -----------------------------------------------------------------------------------------------------------


def health(request: anyws.Request) -> anyws.Response | None:
    """Answer plain HTTP."""
    if request.path == "/health" and not request.is_websocket:
        return anyws.Response(200, {"X-Health": "good"}, "ok\n")
    return None


async def later(request: anyws.Request) -> anyws.Response | None:
    """Answer plain HTTP, after a moment."""
    await anyio.lowlevel.checkpoint()
    return health(request)


@pytest.mark.parametrize("hook", [health, later])
async def test_plain_http_on_the_same_port(hook: Any) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=hook) as server:
        answer = await answer_to(server, PLAIN)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"X-Health: good\r\n" in answer
        assert answer.endswith(b"\r\n\r\nok\n")
        assert (await answer_to(server, PLAIN.replace(b"/health", b"/other"))).startswith(b"HTTP/1.1 426 ")
        await check_serves(server)


async def test_on_request_refuses() -> None:
    seen: list[anyws.Request] = []

    def on_request(request: anyws.Request) -> anyws.Response | None:
        seen.append(request)
        return anyws.Response(401, {"WWW-Authenticate": "Basic"}, "who are you?\n") if request.path == "/in" else None

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=on_request) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(uri_of(server, "/in?a=b")):
                pass
        assert raised.value.status == 401
        assert raised.value.response.headers["www-authenticate"] == "Basic"
        assert raised.value.response.body == b"who are you?\n"
        await check_serves(server)
    assert [(request.path, request.raw_query) for request in seen] == [("/in", "a=b"), ("/chat", "")]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (REQUEST.replace(b"Version: 13", b"Version: 8"), 426),
        (REQUEST.replace(b"GET", b"POST"), 405),
        (REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (REQUEST.replace(b"Host: localhost\r\n", b""), 400),
        (REQUEST.replace(b"Connection: Upgrade", b"Connection: close"), 400),
        (REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nabcde"), 400),
        (REQUEST.replace(b"\r\n\r\n", b"\r\nOrigin: https://evil.example\r\n\r\n"), 403),
        (REQUEST.replace(b"/chat", b"/" + b"a" * 20000), 431),
        (REQUEST.replace(b"\r\n\r\n", b"\r\nX: y" * 200 + b"\r\n\r\n"), 431),
    ],
)
async def test_refusals(head: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws")
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        answer = await answer_to(server, head)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"close\r\n" in answer
        await check_serves(server)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING if status == 403 else logging.INFO, None)
    assert f"opening handshake failed: refused with {status}" in record.message


@pytest.mark.parametrize(
    ("options", "origin", "host", "status"),
    [
        ({}, None, "localhost", 101),
        ({}, "http://localhost", "localhost", 101),
        ({}, "http://localhost:81", "localhost", 403),
        ({}, "http://evil.example", "localhost", 403),
        ({}, "http://evil.example", "evil.example", 403),  # DNS rebinding: a server on loopback
        ({}, "http://127.0.0.1", "127.0.0.1", 101),
        ({"allowed_hosts": ["evil.example"]}, "http://evil.example", "evil.example", 101),
        ({"origins": ["https://good.example"]}, "https://good.example", "localhost", 101),
        ({"origins": ["https://good.example"]}, "https://good.example.evil.example", "localhost", 403),
        ({"origins": ["https://good.example"]}, "http://localhost", "localhost", 403),
        ({"origins": ["*"]}, "https://evil.example", "localhost", 101),
        ({"origins": ["*"]}, "https://evil.example", "evil.example", 403),
        ({"origins": ["*"], "allowed_hosts": ["a.example"]}, "null", "a.example", 101),
    ],
)
async def test_origins_and_hosts(options: dict[str, Any], origin: str | None, host: str, status: int) -> None:
    head = REQUEST.replace(b"Host: localhost", f"Host: {host}".encode())
    if origin is not None:
        head = head.replace(b"\r\n\r\n", f"\r\nOrigin: {origin}\r\n\r\n".encode())
    async with anyws.open_server(echo, "127.0.0.1", 0, **options) as server, raw_client(server) as stream:
        await stream.send(head)
        assert (await stream.receive()).startswith(b"HTTP/1.1 %d " % status)


async def test_each_foreign_origin_is_logged_once_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Its developer sees no more than a 403, and browsers do not show the body."""
    caplog.set_level(logging.INFO, "anyws")
    text = "Origin 'http://localhost:5173' is not allowed; to allow it, add it to the option origins"
    head = REQUEST.replace(b"\r\n\r\n", b"\r\nOrigin: http://localhost:5173\r\n\r\n")
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        for _ in range(2):
            answer = await answer_to(server, head)
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert answer.endswith(text.encode() + b"\n")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert all(
        record.message.endswith(f"opening handshake failed: refused with 403: {text}") for record in caplog.records
    )


async def test_subprotocols_and_headers() -> None:
    async with anyws.open_server(
        echo, "127.0.0.1", 0, subprotocols=["chat.v2", "chat.v1"], headers={"X-Server": "1"}
    ) as server:
        async with anyws.connect(uri_of(server), subprotocols=["chat.v1", "chat.v2"]) as websocket:
            assert websocket.subprotocol == "chat.v2"
            assert websocket.response.headers["x-server"] == "1"
        async with anyws.connect(uri_of(server), subprotocols=["other"]) as websocket:
            assert websocket.subprotocol is None

    def choose(offered: Sequence[str]) -> str:
        return offered[-1]

    async with (
        anyws.open_server(echo, "127.0.0.1", 0, subprotocols=choose) as server,
        anyws.connect(uri_of(server), subprotocols=["first", "last"]) as websocket,
    ):
        assert websocket.subprotocol == "last"


# -- what is not our fault ---------------------------------------------------------------------------------------------


async def scan(stream: SocketStream) -> None:
    """Connect and go, as a port scan does."""


async def garbage(stream: SocketStream) -> None:
    """Say what is not HTTP."""
    await stream.send(b"\x00\x01\x02 garbage \xff\xfe\r\n\r\n")


async def plain_http(stream: SocketStream) -> None:
    """Ask for a page."""
    await stream.send(PLAIN)
    await stream.receive()


async def half_a_head(stream: SocketStream) -> None:
    """Go in the middle of the request."""
    await stream.send(REQUEST[:40])


async def reset(stream: SocketStream) -> None:
    """Reset the connection."""
    await stream.send(REQUEST[:40])
    stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("behave", [scan, garbage, plain_http, half_a_head, reset])
async def test_strangers_are_one_line_in_the_log(
    behave: Callable[[SocketStream], Awaitable[None]],
    tls: bool,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "anyws")
    logged = anyio.Event()
    handler = Noticing(logged)
    logging.getLogger("anyws").addHandler(handler)
    try:
        async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context if tls else None) as server:
            async with raw_client(server) as stream:
                host, port = tuple(stream.extra(SocketAttribute.local_address))[:2]
                try:
                    await behave(stream)
                except (anyio.BrokenResourceError, anyio.EndOfStream):
                    pass
            await logged.wait()
            context = client_ssl_context if tls else None
            uri = uri_of(server, scheme="wss" if tls else "ws")
            async with anyws.connect(uri, ssl_context=context) as websocket:
                await websocket.send("hello")
                assert await websocket.receive() == "hello"
    finally:
        logging.getLogger("anyws").removeHandler(handler)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert record.message.startswith(f"[{host}:{port}] opening handshake failed")
    assert "\n" not in record.message
    assert "secret" not in record.message


class Noticing(logging.Handler):
    """Sets an event when something is logged."""

    def __init__(self, event: anyio.Event) -> None:
        super().__init__()
        self._event = event

    def emit(self, record: logging.LogRecord) -> None:
        self._event.set()


async def test_a_client_that_disappears_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws")
    over = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            while True:
                await websocket.receive()
        finally:
            over.set()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        async with raw_client(server) as stream:
            await StreamPeer(stream, "server").open()
        await over.wait()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert "the handler ended with the connection" in record.message


# -- what is -----------------------------------------------------------------------------------------------------------


async def test_a_handler_that_raises_closes_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        async for message in websocket:
            if message == "fail":
                raise KeyError("mine")
            await websocket.send(message)

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        uri = uri_of(server)
        async with anyws.connect(uri) as good, anyws.connect(uri) as bad:
            await bad.send("fail")
            closed = await ended(bad)
            assert isinstance(closed, anyws.ConnectionClosedError)
            assert closed.received == anyws.Close(1011)
            await good.send("still there")
            assert await good.receive() == "still there"
        await check_serves(server)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "the handler failed" in record.message
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_a_handler_that_returns_closes_with_1000(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyws")

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send("bye")

    async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        assert [message async for message in websocket] == ["bye"]
        assert websocket.close_code == 1000
    assert caplog.records == []


@pytest.mark.parametrize("in_group", [False, True])
async def test_a_handler_that_ends_with_its_connection_is_not_an_error(
    in_group: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyws")

    async def handler(websocket: anyws.WebSocket) -> None:
        if not in_group:
            await websocket.receive()
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(websocket.ping)
                await websocket.receive()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)):
        pass
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.INFO, None)]


@pytest.mark.parametrize("options", [{"on_request": lambda _: 1 / 0}, {"subprotocols": lambda _: 1 / 0}])
async def test_a_hook_that_raises_is_500(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, **options) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(uri_of(server), subprotocols=["a"]):
                pass
    assert raised.value.status == 500
    assert raised.value.response.body == b"internal error\n"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_an_exception_in_a_hook_is_logged_before_the_client_learns_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client's exception leaves the server's block, and ends the server at once."""
    with pytest.raises(anyws.HandshakeRefused):
        async with (
            anyws.open_server(echo, "127.0.0.1", 0, on_request=lambda _: 1 / 0) as server,  # type: ignore[arg-type,return-value]
            anyws.connect(uri_of(server)),
        ):
            pytest.fail("refused")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_an_exception_in_a_handler_is_logged_before_the_client_learns_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        raise KeyError("mine")

    with pytest.raises(anyws.ConnectionClosedError):
        async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
            await websocket.receive()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]


async def test_an_exception_in_a_handler_while_the_server_stops_is_only_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On trio its group has the cancellation besides."""

    async def fail_at_the_end() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("mine")

    async def handler(websocket: anyws.WebSocket) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_at_the_end)
            await anyio.sleep_forever()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        await websocket.ping()
        await server.aclose(0)
    (record,) = caplog.records
    assert "the handler failed" in record.message
    assert "KeyError: 'mine'" in caplog.text


async def test_an_exception_in_a_hook_while_the_server_stops_is_only_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = anyio.Event()

    async def fail_at_the_end() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("mine")

    async def hook(request: anyws.Request) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_at_the_end)
            asked.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        server = await tasks.start(functools.partial(anyws.serve, echo, "127.0.0.1", 0, on_request=hook))
        async with raw_client(server) as stream:
            await stream.send(REQUEST)
            await asked.wait()
            tasks.cancel_scope.cancel()
    assert "KeyError: 'mine'" in caplog.text


async def test_an_exception_from_another_server_in_a_hook_is_not_the_response(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: anyws.Request) -> anyws.Response:
        return anyws.Response(418, body="of the other server")

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=refuse) as other:

        async def ask_the_other(request: anyws.Request) -> None:
            async with anyws.connect(uri_of(other)):
                pytest.fail("refused")

        async with anyws.open_server(echo, "127.0.0.1", 0, on_request=ask_the_other) as server:
            with pytest.raises(anyws.HandshakeRefused) as raised:
                async with anyws.connect(uri_of(server), max_connecting=None):
                    pytest.fail("refused")
    assert raised.value.status == 500
    assert "a hook raised an exception" in caplog.text


# -- a CancelledError of asyncio that is not ours ----------------------------------------------------------------------


@on_asyncio
async def test_a_stray_cancellederror_of_a_hook_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async def on_request(request: anyws.Request) -> None:
        await await_a_cancelled_task()

    async with anyws.open_server(echo, "127.0.0.1", 0, on_request=on_request) as server:
        with pytest.raises(anyws.HandshakeRefused) as raised:
            async with anyws.connect(uri_of(server)):
                pytest.fail("refused")
    assert raised.value.status == 500
    assert "a hook awaited a task that was cancelled" in caplog.text


@on_asyncio
async def test_a_stray_cancellederror_of_a_handler_is_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await await_a_cancelled_task()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        await ended(websocket)
        assert websocket.close_code == 1011
    (record,) = caplog.records
    assert "the handler failed" in record.message
    assert "the handler awaited a task that was cancelled" in caplog.text


@on_asyncio
async def test_cancelling_the_task_of_a_connection_ends_only_that_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "anyws")

    async def handler(websocket: anyws.WebSocket) -> None:
        if websocket.request.path == "/cancelled":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        await echo(websocket)

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        async with anyws.connect(uri_of(server, "/cancelled")) as websocket:
            await websocket.wait_closed()
        await check_serves(server)
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize("use_uvloop", [False, pytest.param(True, marks=needs_uvloop)], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("in_opening", [False, True], ids=["open", "opening"])
def test_a_program_that_ends_with_open_connections_logs_no_error(
    use_uvloop: bool, in_opening: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """`asyncio.run` cancels all tasks that are left, each by itself."""

    class Started:
        def __init__(self) -> None:
            self.server = asyncio.get_running_loop().create_future()

        def started(self, value: anyws.Server) -> None:
            self.server.set_result(value)

    async def client(uri: str) -> None:
        async with anyws.connect(uri, max_connecting=None) as websocket:
            await websocket.wait_closed()

    async def main() -> None:
        asked = anyio.Semaphore(0)

        async def wait(_: object) -> None:
            asked.release()
            await anyio.sleep_forever()

        started = Started()
        serving = anyws.serve(
            echo if in_opening else wait,
            "127.0.0.1",
            0,
            on_request=wait if in_opening else None,
            task_status=started,
        )
        tasks = [asyncio.create_task(serving)]
        server = await started.server
        tasks += [asyncio.create_task(client(uri_of(server))) for _ in range(3)]
        for _ in range(3):
            await asked.acquire()

    factory = importlib.import_module("uvloop").new_event_loop if use_uvloop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


# -- other ways --------------------------------------------------------------------------------------------------------


async def test_frames_sent_with_the_request_are_received() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server, raw_client(server) as stream:
        peer = StreamPeer(stream, "server")
        await peer.open(trailing=b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
        frame = await peer.frame()
        assert (frame.opcode, frame.payload) == (TEXT, b"Hello")


async def test_a_handler_that_is_not_async_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def handler(websocket):  # which tells nothing of what it returns
        """Serve nothing."""

    async with (
        anyws.open_server(handler, "127.0.0.1", 0) as server,
        anyws.connect(uri_of(server)) as websocket,
    ):
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.receive()
        assert websocket.close_code == 1011
    assert "the handler must be an async function: it returned NoneType" in caplog.text


@pytest.mark.parametrize(
    ("port", "error", "message"),
    [
        (-1, ValueError, "invalid port -1: expected 1 to 65535, or 0 for any free port"),
        (65536, ValueError, "invalid port 65536: expected 1 to 65535, or 0 for any free port"),
        ("80", TypeError, "the port must be an int, not str ('80')"),
    ],
)
async def test_an_invalid_port(port: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        await anyws.serve(echo, "127.0.0.1", port)
    assert str(caught.value) == message


async def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(OSError, match=r"Name or service not known: nobody\.invalid$"):
        await anyws.serve(echo, "nobody.invalid", 0)
    with pytest.raises(OSError, match=r"Name or service not known: nobody\.invalid$"):
        async with anyws.connect("ws://nobody.invalid/", proxy=None):
            pass
