"""Streams and listeners that callers bring: of trio, and plain sockets."""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import anyws
from anyws._transport.given_streams import as_byte_stream
from tests.peers import echo


def on_trio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on trio only: nothing else has these streams."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        trio.run(functools.partial(test, **fixtures))

    return run


async def greet(websocket: anyws.WebSocket) -> None:
    await websocket.send("hello")
    assert await websocket.receive() == "hello"


@on_trio
async def test_connect_over_a_socket_stream_of_trio() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with anyws.connect("ws://localhost/", stream=stream) as websocket:
            await greet(websocket)
            assert websocket.remote_address == ("127.0.0.1", server.port)
        await stream.aclose()  # its socket was taken out of it


@on_trio
async def test_accept_a_socket_stream_of_trio() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with anyws.accept(stream) as websocket:
            await echo(websocket)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(functools.partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        async with anyws.connect(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/") as websocket:
            await greet(websocket)
        nursery.cancel_scope.cancel()


@on_trio
async def test_tls_streams_of_trio(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async with anyws.accept(stream) as websocket:
            assert websocket.local_address == ("127.0.0.1", port)
            assert websocket.extra(TLSAttribute.tls_version) == "TLSv1.3"
            assert websocket.extra(TLSAttribute.peer_certificate) is None
            await echo(websocket)

    async with trio.open_nursery() as nursery:
        serving = functools.partial(trio.serve_ssl_over_tcp, serve, 0, server_ssl_context, host="127.0.0.1")
        (listener,) = await nursery.start(serving)
        port = listener.transport_listener.socket.getsockname()[1]
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=client_ssl_context)
        async with anyws.connect("ws://localhost/", stream=stream) as websocket:
            await greet(websocket)
            assert websocket.remote_address == ("127.0.0.1", port)
            assert websocket.extra(TLSAttribute.cipher) is not None
        assert websocket.remote_address == ("127.0.0.1", port)
        nursery.cancel_scope.cancel()


@on_trio
async def test_streams_of_trio_in_memory() -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        async with anyws.accept(theirs) as websocket:
            await echo(websocket)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with anyws.connect("ws://localhost/", stream=ours) as websocket:
            await greet(websocket)
            assert websocket.remote_address is None


@on_trio
async def test_listeners_of_trio() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with anyws.open_server(echo, listeners=listeners) as server, anyws.connect(server.uri) as websocket:
        await greet(websocket)


@on_trio
async def test_errors_are_those_of_anyio() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = as_byte_stream(ours, "here")
    await theirs.aclose()
    with pytest.raises(anyio.BrokenResourceError):
        await stream.send(b"data")
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    await stream.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()
    assert stream.extra(SocketAttribute.remote_address, None) is None


@on_trio
async def test_half_closing_a_stream_of_trio() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await as_byte_stream(ours, "here").send_eof()
    assert await theirs.receive_some() == b""
    no_half_close = trio.SSLStream(ours, ssl.create_default_context(), server_hostname="localhost")
    with pytest.raises(NotImplementedError, match="SSLStream has no half-close"):
        await as_byte_stream(no_half_close, "here").send_eof()


@on_trio
async def test_cancelling_leaves_no_open_stream() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.move_on_after(0):
        async with anyws.accept(theirs):
            pass
    with pytest.raises(trio.ClosedResourceError):
        await theirs.receive_some()
    assert await ours.receive_some() == b""


@on_trio
async def test_a_closed_stream_of_trio() -> None:
    stream, _ = [trio.SocketStream(each) for each in trio.socket.socketpair()]
    await stream.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        as_byte_stream(stream, "here")
    _.socket.close()


@on_trio
async def test_a_tls_listener_of_trio(server_ssl_context: ssl.SSLContext) -> None:
    (listener,) = await trio.open_ssl_over_tcp_listeners(0, server_ssl_context, host="127.0.0.1")
    with pytest.raises(TypeError, match="SSLListener: pass its transport_listener instead"):
        await anyws.serve(echo, listeners=[listener])
    await listener.aclose()


async def test_connected_sockets() -> None:
    ours, theirs = socket.socketpair()

    async def serve() -> None:
        async with anyws.accept(theirs) as websocket:
            await echo(websocket)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        async with anyws.connect("ws://localhost/", stream=ours) as websocket:
            await greet(websocket)


async def test_what_cannot_be_a_stream() -> None:
    with socket.socket() as unconnected, pytest.raises(ValueError, match=r"accept\(\): the socket is not connected \("):
        async with anyws.accept(unconnected):
            pass
    with (
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        pytest.raises(ValueError, match=r"expected a stream socket \(SOCK_STREAM\), not SOCK_DGRAM"),
    ):
        async with anyws.connect("ws://localhost/", stream=datagrams):
            pass
    message = r"accept\(\): expected an AnyIO byte stream, a trio stream or a connected socket, not int"
    with pytest.raises(TypeError, match=message):
        async with anyws.accept(5):  # type: ignore[arg-type]
            pass
    with pytest.raises(TypeError, match="option listeners contains int: expected listening sockets, or listeners of"):
        await anyws.serve(echo, listeners=[5])  # type: ignore[list-item]
