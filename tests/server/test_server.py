"""Servers: how they start, what they report, how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
from anyio.abc import SocketAttribute, SocketListener
from anyio.lowlevel import checkpoint

import anyws
from anyws._connection.link import Link
from anyws.testing import connect_to_handler, local_server
from tests.peers import Peer, echo, ended, on_mock_clock, open_sockets, uri_of


async def hello(uri: str) -> None:
    """Be a client of an echo server."""
    async with anyws.connect(uri) as websocket:
        await websocket.send("hello")
        assert await websocket.receive() == "hello"


# -- starting ----------------------------------------------------------------------------------------------------------


async def test_serve_in_a_task_group() -> None:
    async with anyio.create_task_group() as tasks:
        server: anyws.Server = await tasks.start(anyws.serve, echo, "127.0.0.1", 0)
        ((host, port),) = server.addresses
        assert host == "127.0.0.1"
        assert port > 0
        assert server.extra(SocketAttribute.local_port) == port
        await hello(uri_of(server))
        await server.aclose()  # and serve() returns


def test_serve_in_a_trio_nursery() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server: anyws.Server = await nursery.start(anyws.serve, echo, "127.0.0.1", 0)
            await hello(uri_of(server))
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_open_server_in_an_asyncio_task_group() -> None:
    async def main() -> None:
        async with anyws.open_server(echo, "127.0.0.1", 0) as server, asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(hello(uri_of(server)))

    asyncio.run(main())


def test_open_server_in_trio() -> None:
    async def main() -> None:
        async with anyws.open_server(echo, "127.0.0.1", 0) as server, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(hello, uri_of(server))

    trio.run(main)


async def test_the_port_is_already_in_use() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        host, port = server.addresses[0]
        with pytest.raises(OSError, match=f"{host} port {port}") as raised:
            await anyws.serve(echo, host, port)
        assert raised.value.errno == errno.EADDRINUSE


async def test_invalid_arguments_raise_before_the_server_listens(tmp_path: Path) -> None:
    sockets_before = open_sockets()
    with pytest.raises(TypeError, match="the handler must be an async function, not str"):
        await anyws.serve("127.0.0.1", "127.0.0.1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean max_connections"):
        await anyws.serve(echo, max_conections=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="path"):
        await anyws.serve(echo, "127.0.0.1", path=str(tmp_path / "socket"))
    with pytest.raises(ValueError, match="listeners"):
        await anyws.serve(echo, "127.0.0.1", listeners=[])
    assert open_sockets() == sockets_before


async def takes_two(websocket: anyws.WebSocket, path: str) -> None:
    """As in old versions of websockets."""


async def takes_none() -> None:
    """Serve nobody."""


async def yields(websocket: anyws.WebSocket) -> AsyncIterator[int]:
    yield 1


def is_sync(websocket: anyws.WebSocket) -> None:
    """Serve at once."""


class Sync:
    def __call__(self, websocket: anyws.WebSocket) -> None:
        """Serve at once."""


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (
            takes_two,
            "the handler takes_two must accept one argument, the connection: missing a required argument: 'path'",
        ),
        (
            takes_none,
            "the handler takes_none must accept one argument, the connection: too many positional arguments",
        ),
        (yields, "the handler yields must be an async function, but is a generator"),
        (is_sync, "the handler is_sync must be an async function"),
        (functools.partial(is_sync), "the handler partial must be an async function"),
        (Sync(), "the handler Sync must be an async function"),
        (None, "the handler must be an async function, not NoneType"),
    ],
)
async def test_an_unusable_handler_is_rejected_when_the_server_starts(handler: Any, problem: str) -> None:
    for starting in (anyws.open_server(handler, "127.0.0.1", 0), local_server(handler), connect_to_handler(handler)):
        with pytest.raises(TypeError) as raised:
            async with starting:
                pytest.fail("started")
        assert str(raised.value).startswith(problem)


async def test_a_handler_that_was_already_called_is_rejected_by_name() -> None:
    with pytest.raises(
        TypeError,
        match=r"async function, not a coroutine: pass takes_none, not takes_none\(\.\.\.\)",
    ):
        await anyws.serve(takes_none(), "127.0.0.1", 0)  # type: ignore[arg-type]


class Echo:
    async def __call__(self, websocket: anyws.WebSocket, *, loud: bool = False) -> None:
        await echo(websocket)

    async def method(self, websocket: anyws.WebSocket) -> None:
        await echo(websocket)


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def call(websocket: anyws.WebSocket) -> Any:
        return function(websocket, "/a path")

    return call


@decorated
async def of_two(websocket: anyws.WebSocket, path: str) -> None:
    await echo(websocket)


@pytest.mark.parametrize(
    "handler",
    [
        Echo(),
        Echo().method,
        functools.partial(Echo(), loud=True),
        lambda websocket: Echo().method(websocket),
        of_two,
    ],
)
async def test_any_callable_that_returns_an_awaitable_is_a_handler(handler: Any) -> None:
    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        await hello(uri_of(server))


async def test_an_unusable_tls_context_is_rejected_when_the_server_starts() -> None:
    client_s = ssl.create_default_context()
    without = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for context, problem in (
        (client_s, "option ssl_context is a client context (PROTOCOL_TLS_CLIENT): expected a server context"),
        (without, "option ssl_context has no certificate: load one with load_cert_chain()"),
    ):
        for starting in (
            anyws.open_server(echo, "127.0.0.1", 0, ssl_context=context),
            anyws.server(ssl_context=context),
            local_server(echo, ssl_context=context),
        ):
            with pytest.raises(ValueError, match=re.escape(problem)):
                async with starting:
                    pytest.fail("started")
    with pytest.raises(ValueError, match="is a client context"):
        anyws.virtual_hosts({"a.example": client_s})


async def test_a_context_that_chooses_by_name_needs_no_certificate_of_its_own(server_ssl_context: Any) -> None:
    hosts = anyws.virtual_hosts({"localhost": server_ssl_context})
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=hosts):
        pass


async def test_a_server_context_is_rejected_by_a_client(server_ssl_context: ssl.SSLContext) -> None:
    with pytest.raises(ValueError, match="option ssl_context is a server context"):
        async with anyws.connect("wss://localhost", ssl_context=server_ssl_context):
            pytest.fail("connected")


@pytest.mark.parametrize("host", ["", None])
async def test_without_a_host_it_listens_on_all_interfaces(host: str | None) -> None:
    async with anyws.open_server(echo, host, 0) as server:
        assert {address[0] for address in server.addresses} <= {"0.0.0.0", "::"}
        await hello(f"ws://127.0.0.1:{server.addresses[0][1]}")
    async with anyws.server(listener_options={"host": host, "port": 0}, secure=False) as server:
        assert {address[0] for address in server.addresses} <= {"0.0.0.0", "::"}


async def test_several_listeners_and_those_of_anyio() -> None:
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    other = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with anyws.open_server(echo, listeners=[*multi.listeners, *other.listeners]) as server:
        assert [address[0] for address in server.addresses] == ["127.0.0.1"] * 2
        assert len({address[1] for address in server.addresses}) == 2
        for _, port in server.addresses:
            await hello(f"ws://127.0.0.1:{port}")
    with pytest.raises(OSError):  # noqa: PT011
        await anyio.connect_tcp("127.0.0.1", port)


async def test_a_multi_listener() -> None:
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with anyws.open_server(echo, listeners=[multi]) as server:
        await hello(f"ws://127.0.0.1:{multi.extra(SocketAttribute.local_port)}")
        assert len(server.connections) <= 1


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with anyws.open_server(echo, path=path) as server:
        assert server.addresses == [path]
        await hello(f"ws+unix:{path}:/chat")
    assert not await anyio.Path(path).exists()


async def test_connections() -> None:
    opened: list[anyws.WebSocket] = []

    async def handler(websocket: anyws.WebSocket) -> None:
        opened.append(websocket)
        await websocket.send("open")
        await echo(websocket)

    async with anyws.open_server(handler, "127.0.0.1", 0) as server:
        assert server.connections == frozenset()
        async with anyws.connect(uri_of(server)) as first, anyws.connect(uri_of(server)) as second:
            await first.receive()
            await second.receive()
            assert server.connections == frozenset(opened)
            assert len(opened) == 2
        await opened[0].wait_closed()
        await opened[1].wait_closed()
        await anyio.wait_all_tasks_blocked()
        assert server.connections == frozenset()


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_aclose_closes_with_1001_and_waits_for_handlers() -> None:
    finished = anyio.Event()
    has_begun = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        has_begun.set()
        assert [message async for message in websocket] == ["on its way"]
        with pytest.raises(anyws.ConnectionClosedLocally):
            await websocket.send("too late")
        await anyio.sleep(0.01)
        finished.set()

    async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
        await websocket.send("on its way")
        await websocket.ping()  # it has been read
        await has_begun.wait()
        await server.aclose()
        assert finished.is_set()
        closed = await ended(websocket)
        assert isinstance(closed, anyws.ConnectionClosedOK)
        assert closed.received == anyws.Close(1001, "the server is shutting down")
        assert server.addresses == []
        await server.aclose()  # does nothing more


async def test_aclose_lets_other_tasks_run_between_any_two_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyws._slices.SLICE", 0)
    turn = 0
    closed_at: list[int] = []
    begin_close = Link.begin_close

    def note_turn(self: Link, code: int, *args: Any, **options: Any) -> None:
        if code == 1001:
            closed_at.append(turn)
        begin_close(self, code, *args, **options)

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await checkpoint()

    async with anyws.open_server(echo, "127.0.0.1", 0) as server, anyio.create_task_group() as tasks:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(6):
                await stack.enter_async_context(anyws.connect(uri_of(server)))
            monkeypatch.setattr(Link, "begin_close", note_turn)
            tasks.start_soon(count_turns)
            await server.aclose()
        tasks.cancel_scope.cancel()
    assert len(closed_at) == 6
    assert closed_at[-1] - closed_at[0] >= 4  # on trio, the order of the tasks within one turn varies


@on_mock_clock
async def test_aclose_cancels_handlers_that_do_not_finish() -> None:
    cancelled_at: list[float] = []
    begun = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled_at.append(anyio.current_time())

    for given, grace in (({}, 3), ({"grace": 0.5}, 0.5)):
        async with anyws.open_server(handler, "127.0.0.1", 0) as server, anyws.connect(uri_of(server)) as websocket:
            await begun.wait()
            closing_at = anyio.current_time()
            await server.aclose(**given)
            assert cancelled_at.pop() - closing_at == pytest.approx(grace, abs=0.01)
            assert (await ended(websocket)).code == 1001


async def test_a_cancelled_aclose_stops_at_once() -> None:
    has_begun = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        has_begun.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        server: anyws.Server = await tasks.start(anyws.serve, handler, "127.0.0.1", 0)
        async with anyws.connect(uri_of(server)) as websocket:
            await has_begun.wait()
            with anyio.CancelScope() as scope:
                scope.cancel()
                await server.aclose(grace=3600)
            assert scope.cancelled_caught
            assert (await ended(websocket)).code in (1001, 1006)
        # serve() returns, and the task group ends


async def test_an_exception_in_the_block_stops_the_server_immediately_and_propagates_unchanged() -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as raised:
        async with anyws.open_server(echo, "127.0.0.1", 0) as server:
            address = server.addresses[0]
            raise error
    assert raised.value is error
    with pytest.raises(OSError):  # noqa: PT011
        await anyio.connect_tcp(*address)


async def test_a_server_is_an_async_resource() -> None:
    async with anyio.create_task_group() as tasks:
        server: anyws.Server = await tasks.start(anyws.serve, echo, "127.0.0.1", 0)
        async with server:
            await hello(uri_of(server))


# -- accepting ---------------------------------------------------------------------------------------------------------


class Failing(SocketListener):
    """A listener whose accept() fails before it goes on."""

    def __init__(self, inner: SocketListener, failures: list[OSError]) -> None:
        self._inner = inner
        self._failures = failures

    @property
    def _raw_socket(self) -> socket.socket:
        raw: socket.socket = self._inner.extra(SocketAttribute.raw_socket)
        return raw

    async def accept(self) -> anyio.abc.SocketStream:
        if self._failures:
            raise self._failures.pop(0)
        return await self._inner.accept()

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED])
async def test_accept_may_fail(code: int, caplog: pytest.LogCaptureFixture) -> None:
    """Want of file descriptors is logged and waited out; a client that has gone is nothing to speak of."""
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    (inner,) = multi.listeners
    assert isinstance(inner, SocketListener)
    listener = Failing(inner, [OSError(code, "for now")])
    async with anyws.open_server(echo, listeners=[listener]) as server:
        await hello(uri_of(server))
    lines = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert lines == ([] if code == errno.ECONNABORTED else [lines[0]])
    assert all("cannot accept connections" in line for line in lines)


# -- accept() ----------------------------------------------------------------------------------------------------------


def refuse(request: anyws.Request) -> anyws.Response:
    """Refuse everything."""
    return anyws.Response(403, body="no")


@pytest.mark.parametrize(
    ("hook", "status", "cause"),
    [(refuse, 403, None), (lambda _: 5, 500, TypeError), (lambda _: 1 / 0, 500, ZeroDivisionError)],
)
async def test_accept_raises_the_refusal(
    hook: Callable[[anyws.Request], anyws.Response], status: int, cause: type[Exception] | None
) -> None:
    peer = Peer("server")
    peer.send_eof()
    with pytest.raises(anyws.HandshakeRefused) as raised:
        async with anyws.accept(peer.stream, on_request=hook):
            pass
    assert raised.value.status == status
    assert cause is None or isinstance(raised.value.__cause__, cause)
    assert peer.head.startswith(b"HTTP/1.1 %d " % status)
    assert peer.stream.is_closed


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_accept_when_the_client_disconnects(sent: bytes) -> None:
    peer = Peer("client")
    peer.send_bytes(sent) if sent else None
    peer.send_eof()
    with pytest.raises(anyws.HandshakeError, match="in the middle of its request" if sent else "without a request"):
        async with anyws.accept(peer.stream):
            pass
    assert peer.stream.is_closed
