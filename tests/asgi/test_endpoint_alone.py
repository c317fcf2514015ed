"""An endpoint with a scripted ASGI server: buffers, cancellation, failures of the server, plain HTTP, and mistakes."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

import anyws
from anyws.asgi import EndpointOptions, endpoint
from anyws.asgi._requests import request_of
from tests.conftest import anyio_backend as anyio_backend  # each event loop, unlike the tests with uvicorn


@pytest.fixture(autouse=True)
def no_handler_has_failed(caplog: pytest.LogCaptureFixture) -> Any:
    """Fail a test whose handler has failed, because an endpoint only logs that."""
    yield
    assert not [each.exc_info for each in caplog.get_records("call") if "the handler failed" in each.getMessage()]


Handler = Callable[[anyws.WebSocket], Awaitable[object]]
DENIALS: dict[str, Any] = {"websocket.http.response": {}}
DISCONNECT: dict[str, Any] = {"type": "websocket.disconnect", "code": 1001, "reason": "away"}


def scope_of(kind: str = "websocket", **changes: Any) -> dict[str, Any]:
    headers = [(b"host", b"localhost"), (b"upgrade", b"websocket")]
    return {"type": kind, "path": "/", "headers": headers, "extensions": DENIALS, "method": "GET", **changes}


class ScriptedServer:
    """What an endpoint receives and sends; sending can be blocked, and made to fail."""

    def __init__(self) -> None:
        self._arrivals, self._to_receive = anyio.create_memory_object_stream[Any](math.inf)
        self._may_send = anyio.Event()
        self._may_send.set()
        self.failure: Exception | None = None
        self.sent: list[Any] = []
        self.received = 0

    def put(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self._arrivals.send_nowait(message)

    def put_texts(self, *texts: str) -> None:
        self.put(*({"type": "websocket.receive", "text": text} for text in texts))

    def block(self) -> None:
        self._may_send = anyio.Event()

    def unblock(self) -> None:
        self._may_send.set()

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent if "text" in message]

    @property
    def close(self) -> tuple[int, str]:
        (close,) = [each for each in self.sent if each["type"] == "websocket.close"]
        return close["code"], close["reason"]

    async def receive(self) -> Any:
        if self.failure is not None:
            raise self.failure
        message = await self._to_receive.receive()
        self.received += 1
        return message

    async def send(self, message: Any) -> None:
        await self._may_send.wait()
        if self.failure is not None:
            raise self.failure
        self.sent.append(message)

    def end(self) -> None:
        self._arrivals.close()
        self._to_receive.close()


@pytest.fixture
def server() -> Any:
    server = ScriptedServer()
    server.put({"type": "websocket.connect"})
    yield server
    server.end()


@asynccontextmanager
async def running(server: ScriptedServer, handler: Any, **options: Any) -> AsyncIterator[anyio.CancelScope]:
    """Run an endpoint for the duration of a block, and wait for its end; yield the scope of the server's task."""
    scope = anyio.CancelScope()

    async def serve() -> None:
        with scope:
            await endpoint(handler, **options)(scope_of(), server.receive, server.send)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield scope


async def serve(
    server: ScriptedServer, handler: Callable[[anyws.WebSocket], Awaitable[object]], **options: Any
) -> None:
    async with running(server, handler, **options):
        pass


async def test_a_cancelled_receive_loses_nothing(server: ScriptedServer) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        with anyio.move_on_after(0):
            await websocket.receive()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.receive)
            await wait_all_tasks_blocked()
            server.put_texts("one", "two")
            tasks.cancel_scope.cancel()
        assert [await websocket.receive(), await websocket.receive()] == ["one", "two"]
        await websocket.send("checked")

    await serve(server, handler)
    assert server.texts == ["checked"]


async def test_a_cancelled_send_sends_nothing_and_the_order_is_kept(server: ScriptedServer) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        server.block()
        await websocket.send("1")
        with pytest.raises(anyio.WouldBlock):
            websocket.send_nowait("no room")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.send, "cancelled")
            tasks.start_soon(websocket.drain)
            await wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.send, "2")
            await wait_all_tasks_blocked()
            tasks.start_soon(websocket.send, "3")
            await wait_all_tasks_blocked()
            server.unblock()
        await websocket.drain()
        websocket.send_nowait("4")

    await serve(server, handler, send_buffer=1)
    assert server.texts == ["1", "2", "3", "4"]
    assert server.close == (1000, "")


async def test_a_cancelled_close_leaves_the_rest_to_the_server(server: ScriptedServer) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        server.block()
        with anyio.move_on_after(0):
            await websocket.aclose(4000)
        assert websocket.state is anyws.State.CLOSING
        server.unblock()

    await serve(server, handler)
    assert server.close == (4000, "")


@pytest.mark.parametrize("when", ["receiving", "sending", "closing"])
async def test_the_server_cancels_the_application(
    when: str, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        server.block()
        if when == "receiving":
            await websocket.receive()
        while when == "sending":
            await websocket.send("x")

    async with running(server, handler, send_buffer=1) as scope:
        await wait_all_tasks_blocked()
        scope.cancel()
    assert scope.cancelled_caught
    assert [each["type"] for each in server.sent] == ["websocket.accept"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_reading_stops_when_the_buffer_is_full(server: ScriptedServer) -> None:
    ready = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        await ready.wait()
        await websocket.send(",".join([await websocket.receive_text() for _ in range(4)]))

    server.put_texts("1", "2", "3", "4")
    async with running(server, handler, receive_buffer=1):
        await wait_all_tasks_blocked()
        assert server.received == 2  # with 'websocket.connect'
        ready.set()
    assert server.texts == ["1,2,3,4"]


async def test_what_has_arrived_before_the_end_is_received(server: ScriptedServer) -> None:
    received: list[str | bytes] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        await wait_all_tasks_blocked()
        assert (websocket.state, websocket.close_code, websocket.close_reason) == (anyws.State.CLOSED, 1001, "away")
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.send("too late")
        received.extend([message async for message in websocket])
        with pytest.raises(anyws.ConnectionClosedOK):
            await websocket.receive()
        await websocket.wait_closed()

    server.put_texts("one", "two")
    server.put(DISCONNECT)
    await serve(server, handler)
    assert received == ["one", "two"]
    assert [each["type"] for each in server.sent] == ["websocket.accept"]


async def test_send_eof_keeps_what_has_arrived(server: ScriptedServer) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        await wait_all_tasks_blocked()
        await websocket.send_eof()
        assert await websocket.receive() == "one"
        with pytest.raises(anyws.ConnectionClosedOK):
            await websocket.receive()
        await websocket.wait_closed()

    server.put_texts("one")
    await serve(server, handler)
    assert server.close == (1000, "")


async def test_a_server_that_accepts_nothing_is_not_waited_for_forever(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        server.block()
        await websocket.send("lost")

    caplog.set_level(logging.INFO, "anyws.server")
    await serve(server, handler, close_timeout=0.01)
    assert any("bytes of messages were not delivered" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("side", ["receive", "send"])
async def test_a_server_that_fails_is_a_lost_connection(side: str, server: ScriptedServer) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        server.failure = LookupError("the matter of the test")
        if side == "send":
            await websocket.send("x")
        server.put_texts("wakes the task that receives")
        await wait_all_tasks_blocked()
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.send("y")
        assert raised.value.__cause__ is server.failure
        assert websocket.close_code == 1006
        await websocket.aclose()

    await serve(server, handler)


async def test_a_client_that_is_gone_before_the_acceptance(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyws.server")
    app = endpoint(lambda websocket: checkpoint())

    async def send(message: Any) -> None:
        raise OSError("gone")

    await app(scope_of(client=("127.0.0.1", 1)), server.receive, send)
    assert [each.getMessage() for each in caplog.records] == [
        "[127.0.0.1:1] opening handshake failed: the client closed the connection"
    ]


async def test_only_one_task_receives(server: ScriptedServer) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(websocket.receive)
            await wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError, match="receiving from"):
                await websocket.receive()
            tasks.cancel_scope.cancel()
        await websocket.send("checked")

    await serve(server, handler)
    assert server.texts == ["checked"]


async def test_an_iterable_is_joined_up_to_the_limit(server: ScriptedServer) -> None:
    closed = False

    async def endless() -> AsyncIterator[str]:
        nonlocal closed
        try:
            while True:
                yield "é"
        finally:
            closed = True

    async def mixed() -> AsyncIterator[Any]:
        yield "a"
        yield b"b"

    async def handler(websocket: anyws.WebSocket) -> None:
        with pytest.raises(ValueError, match=r"more than 100 bytes .* so they are joined first"):
            await websocket.send(endless())
        with pytest.raises(TypeError, match="both str and bytes"):
            await websocket.send(mixed())
        with pytest.raises(TypeError, match="cannot send dict"):
            await websocket.send({})  # type: ignore[arg-type]
        await websocket.send("unharmed")

    await serve(server, handler, max_message_size=100)
    assert closed
    assert server.texts == ["unharmed"]


async def test_wrong_closes_raise(server: ScriptedServer) -> None:
    async def handler(websocket: anyws.WebSocket) -> None:
        with pytest.raises(ValueError, match="close code 1006 cannot be sent"):
            await websocket.aclose(1006)
        with pytest.raises(TypeError, match="must be a str"):
            await websocket.aclose(1000, b"")  # type: ignore[arg-type]
        await websocket.aclose(None, "é" * 100)
        await websocket.aclose(4000)

    await serve(server, handler)
    assert server.close == (1000, "é" * 61)


async def test_a_refusal_without_the_extension_is_a_close(server: ScriptedServer) -> None:
    app = endpoint(lambda websocket: checkpoint(), on_request=lambda request: anyws.Response(401))
    await app(scope_of(extensions=None), server.receive, server.send)
    assert server.sent == [{"type": "websocket.close"}]


async def test_the_choice_of_a_subprotocol_can_refuse(server: ScriptedServer) -> None:
    app = endpoint(lambda websocket: checkpoint(), subprotocols=lambda offered: anyws.Response(400, body="no"))
    await app(scope_of(subprotocols=["v1"]), server.receive, server.send)
    assert server.sent[0]["status"] == 400
    assert server.sent[1]["body"] == b"no"


async def test_a_wrong_choice_of_a_subprotocol_is_500(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    app = endpoint(lambda websocket: checkpoint(), subprotocols=lambda offered: "other")
    await app(scope_of(subprotocols=["v1"]), server.receive, server.send)
    assert server.sent[0]["status"] == 500
    assert "a hook raised an exception" in caplog.text


@pytest.mark.parametrize(
    ("method", "version", "status", "body"),
    [
        ("GET", "1.1", 426, b"expected a WebSocket opening handshake\n"),
        ("HEAD", "2", 426, b""),
        ("POST", "1.1", 405, b"method POST, expected GET or HEAD\n"),
    ],
)
async def test_plain_http(method: str, version: str, status: int, body: bytes, server: ScriptedServer) -> None:
    app = endpoint(lambda websocket: checkpoint(), on_request=anyws.health_check("/health"))
    await app(scope_of("http", method=method, http_version=version, headers=[]), server.receive, server.send)
    start, rest = server.sent
    assert (start["type"], start["status"]) == ("http.response.start", status)
    assert ((b"upgrade", b"websocket") in start["headers"]) == (status == 426 and version == "1.1")
    assert rest == {"type": "http.response.body", "body": body}


async def test_a_hook_responds_to_plain_http(server: ScriptedServer) -> None:
    app = endpoint(lambda websocket: checkpoint(), on_request=lambda request: anyws.Response(200, body="page"))
    await app(scope_of("http"), server.receive, server.send)
    assert (server.sent[0]["status"], server.sent[1]["body"]) == (200, b"page")


async def test_startup_and_shutdown(server: ScriptedServer) -> None:
    await server.receive()
    server.put({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await endpoint(lambda websocket: checkpoint())({"type": "lifespan"}, server.receive, server.send)
    assert [each["type"] for each in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_another_type_of_scope_raises(server: ScriptedServer) -> None:
    with pytest.raises(ValueError, match="scope type 'mqtt': expected 'websocket', 'http' or 'lifespan'"):
        await endpoint(lambda websocket: checkpoint())({"type": "mqtt"}, server.receive, server.send)


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        ({"path": "/a/b"}, "/a/b"),
        ({"path": "/a b/é", "query_string": b"c=%20"}, "/a%20b/%C3%A9?c=%20"),
        ({"path": "/a/b", "raw_path": b"/a%2Fb"}, "/a%2Fb"),
        ({"path": "/a/b", "raw_path": b"/a%2Fb?query"}, "/a%2Fb"),
        ({"path": "/rewritten", "raw_path": b"/a"}, "/rewritten"),
        ({"path": "/live/a/b", "raw_path": b"/live/a%2Fb", "root_path": "/live"}, "/a%2Fb"),
        ({"path": "/live/a", "raw_path": b"/%6Cive/a", "root_path": "/live"}, "/a"),
        ({"path": "/live", "root_path": "/live/"}, "/"),
        ({"path": "/lively", "root_path": "/live"}, "/lively"),
        ({"path": "/a", "root_path": "/live"}, "/a"),
        ({"path": ""}, "/"),
    ],
)
def test_the_path_is_relative_to_the_mount(scope: dict[str, Any], target: str) -> None:
    assert request_of(scope_of(**scope)).target == target


def test_a_request_over_http_2_asks_for_websocket() -> None:
    request = request_of(scope_of(headers=[(b":authority", b"x"), (b"host", b"x")], http_version="2"))
    assert request.is_websocket
    assert [name for name, _ in request.headers.multi_items()] == ["host", "Upgrade"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"ping_interval": 5},
            "endpoint() has no option ping_interval: that is up to the ASGI server; uvicorn has --ws",
        ),
        ({"ws_ping_interval": 5}, "endpoint() has no option ws_ping_interval: that is up to the ASGI server; uvicorn"),
        ({"ssl_context": None}, "uvicorn has --ssl-certfile"),
        ({"max_size": 5}, "did you mean max_message_size?"),
        ({"max_message_size": "5"}, "endpoint(): option max_message_size must be int or None, not str ('5')"),
        ({"on_request": [5]}, "option on_request contains int, expected callables"),
    ],
)
def test_wrong_options(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError) as raised:
        endpoint(lambda websocket: checkpoint(), **options)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"send_buffer": 0}, "option send_buffer is 0"), ({"subprotocols": ["a b"]}, "is not a token")],
)
def test_invalid_options(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        endpoint(lambda websocket: checkpoint(), **options)


def test_every_other_option_of_a_server_says_where_to_set_it() -> None:
    known = set(inspect.signature(EndpointOptions).parameters)
    for name in {*inspect.signature(anyws.ServerOptions).parameters, "host", "port"} - known:
        with pytest.raises(TypeError, match=f"no option {name}: that is up to the ASGI server; "):
            endpoint(lambda websocket: checkpoint(), **{name: None})  # type: ignore[arg-type]


def test_wrong_handlers() -> None:
    def sync(websocket: anyws.WebSocket) -> None: ...

    with pytest.raises(TypeError, match="must be an async function"):
        endpoint(sync)  # type: ignore[arg-type]


def test_the_test_client_of_starlette() -> None:
    pytest.importorskip("httpx2")  # what the test client uses
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    async def handler(websocket: anyws.WebSocket) -> None:
        await websocket.send(await websocket.receive())
        await websocket.aclose(4000)

    with (
        TestClient(Starlette(routes=[WebSocketRoute("/", endpoint(handler))])) as client,
        client.websocket_connect("/") as websocket,
    ):
        websocket.send_text("hello")
        assert websocket.receive_text() == "hello"
        with pytest.raises(WebSocketDisconnect) as raised:
            websocket.receive_text()
        assert raised.value.code == 4000


def test_help_shows_the_options() -> None:
    parameters = inspect.signature(endpoint).parameters
    assert parameters["max_message_size"].default == 1024 * 1024
    assert "close_timeout (float or None, default 10)" in (endpoint.__doc__ or "")
    assert repr(endpoint(lambda websocket: checkpoint())).startswith("<anyws.asgi.endpoint(")
