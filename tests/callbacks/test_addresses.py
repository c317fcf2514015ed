"""`get_address` for every kind of network socket."""

from __future__ import annotations

import asyncio
import math
import socket as sockets
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import sniffio
import trio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

import anyws
from anyws.callbacks import Address, SocketAddresses, get_address
from anyws.testing import memory_stream_pair

LOCAL = "127.0.0.1"


@pytest.fixture
def path() -> Iterator[str]:
    """A path for a unix socket, short enough for every system."""
    with tempfile.TemporaryDirectory() as directory:
        yield f"{directory}/s"


@asynccontextmanager
async def echo_server(**options: Any) -> AsyncIterator[anyws.Server]:
    async def echo(websocket: anyws.WebSocket) -> None:
        accepted.append(get_address(websocket))
        await websocket.send("")
        await websocket.wait_closed()

    accepted: list[SocketAddresses] = []
    async with anyws.open_server(echo, None if "path" in options else LOCAL, **options) as server:
        server.accepted = accepted  # type: ignore[attr-defined]
        yield server


# -- ours --------------------------------------------------------------------------------------------------------------


async def test_both_ends_of_a_websocket_agree() -> None:
    async with echo_server() as server:
        port = server.addresses[0][1]
        async with anyws.connect(f"ws://{LOCAL}:{port}") as websocket:
            await websocket.receive()
            ours = get_address(websocket)
            assert ours.remote == Address(LOCAL, port)
            assert ours.local is not None
            assert ours.local.address == LOCAL
            assert ours.local.port == websocket.extra(SocketAttribute.local_port)
            assert server.accepted == [SocketAddresses(ours.remote, ours.local)]  # type: ignore[attr-defined]
    assert get_address(websocket) == ours  # also when the connection has ended


async def test_a_server() -> None:
    async with echo_server() as server:
        assert get_address(server) == SocketAddresses(Address(LOCAL, server.addresses[0][1]), None)


async def test_a_websocket_over_tls(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async with echo_server(ssl_context=server_ssl_context) as server:
        port = server.addresses[0][1]
        async with anyws.connect(f"wss://{LOCAL}:{port}", ssl_context=client_ssl_context) as websocket:
            await websocket.receive()
            ours = get_address(websocket)
            assert ours.remote == Address(LOCAL, port)
            assert server.accepted == [SocketAddresses(ours.remote, ours.local)]  # type: ignore[attr-defined]


async def test_a_websocket_over_a_unix_socket(path: str) -> None:
    async with echo_server(path=path) as server, anyws.connect(f"ws+unix:{path}") as websocket:
        await websocket.receive()
        assert get_address(websocket) == SocketAddresses(Address("", None), Address(path, None))
        assert server.accepted == [SocketAddresses(Address(path, None), Address("", None))]  # type: ignore[attr-defined]


async def test_sockets_of_the_callback_api() -> None:
    def on_connect(headers: object, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        accepted.append(get_address(socket))
        ready()

    accepted: list[SocketAddresses] = []
    listening = {"host": LOCAL}
    async with anyws.server(callback_connect=on_connect, secure=False, listener_options=listening) as server:
        port = server.addresses[0][1]
        async with anyws.client_connect(secure=False, socket_options={"host": LOCAL, "port": port}) as socket:
            ours = get_address(socket)
            assert ours.remote == Address(LOCAL, port)
            assert accepted == [SocketAddresses(ours.remote, ours.local)]


async def test_in_memory_there_are_no_addresses() -> None:
    async with anyws.testing.websocket_pair() as ends:
        for end in (*ends, *memory_stream_pair()):
            assert get_address(end) == SocketAddresses(None, None)


# -- AnyIO -------------------------------------------------------------------------------------------------------------


async def test_anyio_tcp_streams_and_listeners() -> None:
    async with await anyio.create_tcp_listener(local_host=LOCAL) as multi:
        port = multi.extra(SocketAttribute.local_port)
        assert get_address(multi) == get_address(multi.listeners[0]) == SocketAddresses(Address(LOCAL, port), None)
        async with await anyio.connect_tcp(LOCAL, port) as client:
            found = get_address(client)
            assert found.remote == Address(LOCAL, port)
            assert found.local == Address(LOCAL, client.extra(SocketAttribute.local_port))
    get_address(client)  # raises nothing


async def test_anyio_unix_streams_and_listeners(path: str) -> None:
    async with await anyio.create_unix_listener(path) as listener:
        assert get_address(listener) == SocketAddresses(Address(path, None), None)
        async with await anyio.connect_unix(path) as client:
            assert get_address(client) == SocketAddresses(Address("", None), Address(path, None))


async def test_anyio_udp_sockets() -> None:
    async with await anyio.create_udp_socket(local_host=LOCAL) as one:
        port = one.extra(SocketAttribute.local_port)
        assert get_address(one) == SocketAddresses(Address(LOCAL, port), None)
        async with await anyio.create_connected_udp_socket(LOCAL, port) as other:
            assert get_address(other).remote == Address(LOCAL, port)


async def test_anyio_tls(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async def serve(stream: TLSStream) -> None:
        found.append(get_address(stream))
        await stream.aclose()
        is_done.set()

    found: list[SocketAddresses] = []
    is_done = anyio.Event()
    listener = TLSListener(
        await anyio.create_tcp_listener(local_host=LOCAL), server_ssl_context, standard_compatible=False
    )
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.listener.extra(SocketAttribute.local_port)
        assert get_address(listener) == SocketAddresses(Address(LOCAL, port), None)
        client = await anyio.connect_tcp(LOCAL, port, ssl_context=client_ssl_context, tls_standard_compatible=False)
        async with client:
            ours = get_address(client)
            await is_done.wait()
        tasks.cancel_scope.cancel()
    assert found == [SocketAddresses(ours.remote, ours.local)]
    assert ours.remote == Address(LOCAL, port)


# -- trio --------------------------------------------------------------------------------------------------------------


def needs(library: str) -> None:
    if sniffio.current_async_library() != library:
        pytest.skip(f"for {library}")


async def test_trio_streams_listeners_and_sockets(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    needs("trio")
    (listener,) = await trio.open_tcp_listeners(0, host=LOCAL)
    tls_listener = trio.SSLListener(listener, server_ssl_context)
    port = listener.socket.getsockname()[1]
    async with tls_listener, await trio.open_tcp_stream(LOCAL, port) as stream, await listener.accept() as accepted:
        expected = SocketAddresses(Address(LOCAL, port), None)
        assert get_address(listener) == get_address(listener.socket) == get_address(tls_listener) == expected
        ours = get_address(stream)
        assert ours == get_address(stream.socket)
        assert ours.remote == Address(LOCAL, port)
        assert get_address(accepted) == SocketAddresses(ours.remote, ours.local)
        tls = trio.SSLStream(stream, client_ssl_context, server_hostname="localhost")
        assert get_address(tls) == ours
        assert get_address(trio.SSLStream(tls, client_ssl_context, server_hostname="localhost")) == ours
    assert get_address(stream) == SocketAddresses(None, None)


# -- asyncio -----------------------------------------------------------------------------------------------------------


async def test_asyncio_transports_writers_and_servers() -> None:
    needs("asyncio")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(get_address(writer))
        writer.close()
        is_done.set()

    accepted: list[SocketAddresses] = []
    is_done = anyio.Event()
    server = await asyncio.start_server(serve, LOCAL, 0)
    port = server.sockets[0].getsockname()[1]
    assert get_address(server) == get_address(server.sockets[0]) == SocketAddresses(Address(LOCAL, port), None)
    _reader, writer = await asyncio.open_connection(LOCAL, port)
    await is_done.wait()
    ours = get_address(writer)
    assert ours.remote == Address(LOCAL, port)
    assert get_address(writer.transport) == ours
    assert accepted == [SocketAddresses(ours.remote, ours.local)]
    writer.close()
    await writer.wait_closed()
    get_address(writer)  # raises nothing
    server.close()
    await server.wait_closed()
    assert get_address(server) == SocketAddresses(None, None)


async def test_an_asyncio_unix_transport(path: str) -> None:
    needs("asyncio")
    server = await asyncio.start_unix_server(lambda reader, writer: writer.close(), path)
    assert get_address(server) == SocketAddresses(Address(path, None), None)
    _reader, writer = await asyncio.open_unix_connection(path)
    found = get_address(writer)
    assert found.remote == Address(path, None)
    assert found.local in (None, Address("", None))
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


# -- the standard library ----------------------------------------------------------------------------------------------


def test_a_standard_library_socket_from_creation_to_close() -> None:
    with sockets.socket() as listening, sockets.socket() as client:
        assert get_address(client).remote is None  # what an unbound socket says of itself depends on the system
        listening.bind((LOCAL, 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert get_address(listening) == SocketAddresses(Address(LOCAL, port), None)
        client.connect((LOCAL, port))
        accepted, _ = listening.accept()
        with accepted:
            found = get_address(client)
            assert found == SocketAddresses(Address(LOCAL, client.getsockname()[1]), Address(LOCAL, port))
            assert get_address(accepted) == SocketAddresses(found.remote, found.local)
    for closed in (listening, client, accepted):
        assert get_address(closed) == SocketAddresses(None, None)


def test_ipv6_and_ipv4_mapped_addresses() -> None:
    with sockets.socket(sockets.AF_INET6) as listening:
        listening.setsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_V6ONLY, False)
        listening.bind(("::", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert get_address(listening).local == Address("::", port)
        for host in (LOCAL, "::1"):
            with sockets.create_connection((host, port)) as client:
                accepted, _ = listening.accept()
                with accepted:
                    assert get_address(accepted).local == Address(host, port)
                    assert get_address(accepted).remote == Address(host, client.getsockname()[1])


def test_unix_sockets(path: str) -> None:
    one, other = sockets.socketpair(sockets.AF_UNIX)
    with one, other:
        assert get_address(one) == SocketAddresses(Address("", None), Address("", None))
    with sockets.socket(sockets.AF_UNIX) as listening:
        listening.bind(path)
        assert get_address(listening) == SocketAddresses(Address(path, None), None)


class Fake:
    """Has addresses that no test can have everywhere."""

    def __init__(self, name: object) -> None:
        self._name = name

    def getsockname(self) -> object:
        return self._name

    def getpeername(self) -> object:
        raise OSError(math.inf)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (("::ffff:192.0.2.7", 80, 0, 0), Address("192.0.2.7", 80)),
        (("::FFFF:c000:207", 80, 0, 0), Address("192.0.2.7", 80)),
        (("fe80::1%eth0", 80, 0, 2), Address("fe80::1%eth0", 80)),
        (("2001:db8::1", 80, 0, 0), Address("2001:db8::1", 80)),
        (("::192.0.2.7", 80, 0, 0), Address("::192.0.2.7", 80)),  # compatible is not mapped (RFC 4291, 2.5.5.1)
        ("/run/socket", Address("/run/socket", None)),
        (b"\0abstract", Address("\0abstract", None)),
        ("", Address("", None)),
        (None, None),
    ],
)
def test_how_addresses_are_shown(name: object, expected: Address | None) -> None:
    assert get_address(Fake(name)) == SocketAddresses(expected, None)


@pytest.mark.parametrize(
    "wrong", [None, 5, "127.0.0.1", object(), ("127.0.0.1", 80), [], sockets.socket, SocketAttribute]
)
def test_objects_that_are_not_sockets(wrong: object) -> None:
    with pytest.raises(TypeError, match=f"expected a network socket, not {type(wrong).__name__}"):
        get_address(wrong)
