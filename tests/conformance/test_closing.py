"""The closing handshake (RFC 6455, sections 5.5.1 and 7)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

import anyws
from anyws.protocol import Close, Connection, LocalProtocolError, Ping, Pong, Role, State
from tests.chunks import Chunked, chunked
from tests.peers import StreamPeer, address_of, close_payload, ended, frame_bytes

from .wire import CLOSE, both_roles, check_failed, close_code, frame, receive, sent, wire_of

ALLOWED = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
FORBIDDEN = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535]
NEVER_SENT = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000]

# -- the frame ---------------------------------------------------------------------------------------------------------

CLOSES = [
    pytest.param(b"", Close(1005), id="0-bytes"),
    *[pytest.param(code.to_bytes(2, "big"), Close(code), id=str(code)) for code in ALLOWED],
    pytest.param(b"\x03\xe8bye \xe2\x82\xac", Close(1000, "bye €"), id="reason"),
    pytest.param(b"\x03\xe8" + b"r" * 123, Close(1000, "r" * 123), id="longest-reason"),
]


@both_roles
@chunked
@pytest.mark.parametrize(("payload", "close"), CLOSES)
def test_5_5_1_the_code_is_echoed_and_what_follows_is_ignored(
    payload: bytes, close: Close, role: Role, chunked: Chunked
) -> None:
    """No Pong follows the peer's Close, and a Close without a code is 1005 (section 7.1.5)."""
    connection = Connection(role)
    data = frame(role, 0x88, payload) + frame(role, 0x81, b"late") + frame(role, 0x89, b"late") + b"\xff\xff"
    assert receive(connection, chunked(data)) == [close]
    assert sent(connection) == [(CLOSE, payload)]
    assert (connection.state, connection.failure) == (State.CLOSED, None)
    assert (connection.close_received, connection.close_code) == (close, close.code)
    assert connection.close_sent == close


@both_roles
@chunked
@pytest.mark.parametrize("byte", [b"\x00", b"\x03", b"\xff"])
def test_5_5_1_a_close_body_of_one_byte_is_1002(byte: bytes, role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    assert receive(connection, chunked(frame(role, 0x88, byte))) == []
    check_failed(connection, 1002)


@both_roles
@chunked
@pytest.mark.parametrize("code", FORBIDDEN)
def test_7_4_any_other_code_is_1002(code: int, role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    assert receive(connection, chunked(frame(role, 0x88, code.to_bytes(2, "big")))) == []
    check_failed(connection, 1002)


@both_roles
@pytest.mark.parametrize("code", NEVER_SENT)
def test_7_4_1_never_send_a_reserved_code(code: int, role: Role) -> None:
    connection = Connection(role)
    with pytest.raises(ValueError, match="cannot be sent"):
        connection.send_close(code)
    assert (connection.state, connection.close_sent, connection.data_to_send()) == (State.OPEN, None, b"")


@both_roles
@pytest.mark.parametrize("code", ALLOWED)
def test_7_4_every_other_code_can_be_sent(code: int, role: Role) -> None:
    connection = Connection(role)
    connection.send_close(code)
    assert sent(connection) == [(CLOSE, code.to_bytes(2, "big"))]


@both_roles
@pytest.mark.parametrize(
    ("reason", "on_the_wire"),
    [
        pytest.param("r" * 123, b"r" * 123, id="fits"),
        pytest.param("r" * 124, b"r" * 123, id="ascii"),
        pytest.param("r" * 122 + "é", b"r" * 122, id="2-bytes-do-not-fit"),
        pytest.param("€" * 42, "€".encode() * 41, id="3-bytes"),
        pytest.param("😀" * 31, "😀".encode() * 30, id="4-bytes"),
    ],
)
def test_5_5_1_a_long_reason_is_truncated_at_a_code_point(reason: str, on_the_wire: bytes, role: Role) -> None:
    connection = Connection(role)
    connection.send_close(1000, reason)
    assert sent(connection) == [(CLOSE, b"\x03\xe8" + on_the_wire)]


# -- the handshake -----------------------------------------------------------------------------------------------------


@both_roles
def test_5_5_1_no_data_after_our_close(role: Role) -> None:
    connection = Connection(role)
    connection.send_message("before")
    connection.send_close(1001)
    for late in (
        lambda: connection.send_message("late"),
        lambda: connection.send_fragment("late", fin=True),
        connection.send_ping,
        connection.send_pong,
        connection.send_close,
    ):
        with pytest.raises(LocalProtocolError, match="cannot send after a Close"):
            late()
    assert connection.receive_data(frame(role, 0x89, b"p")) == [Ping(b"p")]
    assert sent(connection) == [(0x81, b"before"), (CLOSE, b"\x03\xe9")]


@both_roles
@chunked
def test_5_5_1_after_our_close_messages_are_received_until_the_peers_close(role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    connection.send_close(1001, "bye")
    assert sent(connection) == [(CLOSE, b"\x03\xe9bye")]
    wire = wire_of(role, [(0x01, b"on its "), (0x8A, b""), (0x80, b"way"), (0x88, b"\x03\xe9"), (0x81, b"ignored")])
    assert receive(connection, chunked(wire)) == [Pong(b""), "on its way", Close(1001)]
    assert (connection.state, connection.close_code) == (State.CLOSED, 1001)
    assert sent(connection) == []  # no second Close


@both_roles
def test_5_5_1_a_close_may_come_inside_a_fragmented_message(role: Role) -> None:
    connection = Connection(role)
    assert connection.receive_data(frame(role, 0x01, b"a") + frame(role, 0x88)) == [Close(1005)]
    assert connection.failure is None


@both_roles
@pytest.mark.parametrize("we_close", [False, True], ids=["open", "closing"])
def test_7_1_5_the_end_of_tcp_without_a_close_is_1006(we_close: bool, role: Role) -> None:
    connection = Connection(role)
    if we_close:
        connection.send_close()
    connection.receive_data(frame(role, 0x02, b"unfinished"))
    connection.receive_eof()
    assert (connection.state, connection.close_code, connection.close_received) == (State.CLOSED, 1006, None)
    assert connection.data_to_send() == b""


@both_roles
@pytest.mark.parametrize(("payload", "code"), [(b"\x03\xe8", 1000), (b"", 1005)])
def test_7_1_5_the_end_of_tcp_after_a_close_keeps_the_code(payload: bytes, code: int, role: Role) -> None:
    connection = Connection(role)
    connection.receive_data(frame(role, 0x88, payload))
    connection.receive_eof()
    assert connection.close_code == code


@both_roles
@chunked
def test_7_1_7_after_a_failure_nothing_more_is_processed(role: Role, chunked: Chunked) -> None:
    connection = Connection(role)
    bad = frame(role, 0x83)
    more = wire_of(role, [(0x81, b"more"), (0x89, b"more"), (0x88, b"\x03\xe8"), (0x84, b"")])
    assert receive(connection, chunked(frame(role, 0x81, b"good") + bad + more)) == ["good"]
    check_failed(connection, 1002)
    assert receive(connection, chunked(more)) == []
    assert sent(connection) == []


@both_roles
def test_7_1_7_a_failure_after_our_close_sends_no_second_close_and_drops_nothing(role: Role) -> None:
    connection = Connection(role)
    connection.send_message("accepted")
    connection.send_close(1000)
    assert connection.receive_data(frame(role, 0x83)) == []
    assert (connection.state, connection.close_sent) == (State.CLOSED, Close(1000))
    accepted, *rest = sent(connection)
    assert accepted == (0x81, b"accepted")
    assert close_code(rest) == 1000


# -- TCP and TLS -------------------------------------------------------------------------------------------------------

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture
def contexts(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> Contexts:
    """The TLS contexts of server and client."""
    return server_ssl_context, client_ssl_context


@asynccontextmanager
async def talking(ours: str, contexts: Contexts | None = None, **options: Any) -> AsyncIterator[Any]:
    """Connect anyws over TCP or TLS to a peer whose bytes the test writes."""
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    (listener,) = multi.listeners
    async with listener:
        client: ByteStream = await anyio.connect_tcp(*address_of(listener))
        server: ByteStream = await listener.accept()  # type: ignore[attr-defined]  # of a SocketListener
    if contexts is not None:
        client, server = await _over_tls(client, server, contexts)
    stream, other = (client, server) if ours == "client" else (server, client)
    peer = StreamPeer(other, "client" if ours == "client" else "server")
    is_open = anyio.Event()

    async def open_peer() -> None:
        await peer.open()
        is_open.set()

    async with other, anyio.create_task_group() as tasks:
        tasks.start_soon(open_peer)
        if ours == "client":
            opened = anyws.connect("ws://localhost/", stream=stream, **options)
        else:
            opened = anyws.accept(stream, **options)
        with anyio.fail_after(5):  # a peer that waits is not to wait for ever
            async with opened as websocket:
                await is_open.wait()
                yield websocket, peer


async def _over_tls(client: ByteStream, server: ByteStream, contexts: Contexts) -> tuple[TLSStream, TLSStream]:
    streams: dict[bool, TLSStream] = {}

    async def wrap(is_server: bool) -> None:
        streams[is_server] = await TLSStream.wrap(
            server if is_server else client,
            server_side=is_server,
            hostname=None if is_server else "localhost",
            ssl_context=contexts[0 if is_server else 1],
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wrap, True)
        tasks.start_soon(wrap, False)
    return streams[False], streams[True]


@pytest.mark.parametrize("we_close", [False, True], ids=["theirs-first", "ours-first"])
async def test_7_1_1_the_server_closes_tcp_first(we_close: bool) -> None:
    """It does so once both have sent a Close, without waiting for the client to end its side."""
    async with talking("server", close_timeout=None) as (websocket, peer):
        if we_close:
            await websocket.send_eof()
            assert (await peer.frame()).close_code == 1000
        await peer.send(8, close_payload(1000))
        if not we_close:
            assert (await peer.frame()).close_code == 1000
        assert await peer.rest() == b""
        await peer.stream.send_eof()
        await websocket.wait_closed()
        assert websocket.close_code == 1000


async def test_7_1_1_the_client_waits_for_the_server_to_close_tcp() -> None:
    async with talking("client", close_timeout=None) as (websocket, peer):
        await peer.send(8, close_payload(1000))
        assert (await peer.frame()).close_code == 1000
        with anyio.move_on_after(0.05) as waiting:
            await peer.stream.receive()
        assert waiting.cancelled_caught
        await peer.stream.send_eof()
        await websocket.wait_closed()
        assert await peer.rest() == b""


@pytest.mark.parametrize("answered", [True, False], ids=["with-its-Close", "without-its-Close"])
async def test_7_1_1_the_client_waits_with_a_timeout(answered: bool) -> None:
    async with talking("client", close_timeout=0.05) as (websocket, peer):
        await websocket.send_eof()
        assert (await peer.frame()).close_code == 1000
        if answered:
            await peer.send(8, close_payload(1000))
        await websocket.wait_closed()
        assert websocket.close_code == (1000 if answered else 1006)
        assert await peer.rest() == b""


async def test_7_1_1_a_half_close_prevents_a_reset_from_destroying_the_close() -> None:
    """Data that the client sent after its Close is discarded; if it stayed unread, the kernel would send a reset."""
    async with talking("server", close_timeout=None) as (websocket, peer):
        await websocket.send(b"x" * 500_000)
        await peer.stream.send(frame_bytes(8, close_payload(1000), masked=True) + bytes(300_000))
        assert (await peer.frame()).payload == b"x" * 500_000
        await peer.stream.send(bytes(300_000))
        assert (await peer.frame()).close_code == 1000
        assert await peer.rest() == b""
        await peer.stream.send_eof()
        await websocket.wait_closed()


@pytest.mark.parametrize("ours", ["client", "server"])
@pytest.mark.parametrize(("code", "expected"), [(None, 1006), (1000, 1000), (3000, 3000)])
async def test_7_1_5_tls_that_ends_without_close_notify(
    ours: str, code: int | None, expected: int, contexts: Contexts
) -> None:
    """An attacker can end TCP, which is 1006, but cannot forge a Close, so a received Close counts."""
    async with talking(ours, contexts, close_timeout=None) as (websocket, peer):
        await peer.send(1, b"last words")
        if code is not None:
            await peer.send(8, close_payload(code))
        await peer.stream.transport_stream.send_eof()
        assert await websocket.receive() == "last words"
        closed = await ended(websocket)
        await anyio.aclose_forcefully(peer.stream)
        await websocket.wait_closed()
        assert closed.code == websocket.close_code == expected


@pytest.mark.parametrize("ours", ["client", "server"])
async def test_7_1_5_tls_that_ends_with_close_notify_but_without_a_close(ours: str, contexts: Contexts) -> None:
    async with talking(ours, contexts, close_timeout=None) as (websocket, peer):
        await peer.stream.aclose()
        assert (await ended(websocket)).code == 1006
