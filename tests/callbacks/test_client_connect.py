"""The client of the callback API: what it sends, and how its opening handshake ends."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSAttribute

import anyws
from tests.callbacks.peers import Calls, plain_client, plain_server, tls_client, tls_server
from tests.peers import BINARY, Peer, StreamPeer
from tests.pems import Pems


@asynccontextmanager
async def headers_of(**options: Any) -> AsyncIterator[tuple[anyws.Headers, anyws.callbacks.Socket]]:
    """Connect with these options; give what the server saw of them."""

    def on_connect(header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready) -> None:
        headers.append(header_values)
        ready()

    headers: list[anyws.Headers] = []
    async with (
        plain_server(callback_connect=on_connect) as server,
        plain_client(server, **options) as socket,
    ):
        yield headers[0], socket


async def failed_with(response: bytes, **options: Any) -> tuple[Exception, list[Any]]:
    """Connect to a server that answers this, behind a right ``Sec-WebSocket-Accept``; return what it fails with."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await StreamPeer(stream, "client").open(headers=response)

    opened = Calls()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        target = {"host": "127.0.0.1", "port": listener.extra(anyio.abc.SocketAttribute.local_port)}
        with pytest.raises(anyws.HandshakeError) as caught:
            async with anyws.client_connect(
                {"secure": False, "socket_options": target, "callback_open": opened, **options}
            ):
                pytest.fail("the handshake failed")
        tasks.cancel_scope.cancel()
    return caught.value, opened.seen


# -- callback_open -----------------------------------------------------------------------------------------------------


async def test_callback_open_gets_the_socket_before_the_body_begins() -> None:
    opened = Calls()
    async with plain_server() as server, plain_client(server, callback_open=opened) as socket:
        assert opened.seen == [(None, socket)]
        assert isinstance(socket, anyws.callbacks.Socket)


async def test_the_body_waits_for_an_async_callback_open() -> None:
    async def on_open(err: Exception | None, socket: anyws.callbacks.Socket) -> None:
        latency.append(await socket.ping())

    latency: list[float] = []
    async with plain_server() as server, plain_client(server, callback_open=on_open):
        assert len(latency) == 1


async def test_callback_open_gets_what_the_block_raises() -> None:
    opened = Calls()
    async with plain_server(callback_connect=lambda _headers, _socket, ready: ready.refuse(403)) as server:
        with pytest.raises(anyws.HandshakeRefused) as caught:
            async with plain_client(server, callback_open=opened):
                pytest.fail("the handshake was refused")
    assert opened.seen == [(caught.value, None)]


async def test_connection_refused() -> None:
    opened = Calls()
    async with plain_server() as server:
        port = server.addresses[0][1]
    with pytest.raises(ConnectionRefusedError) as caught:
        async with anyws.client_connect(
            secure=False, socket_options={"host": "127.0.0.1", "port": port}, callback_open=opened
        ):
            pytest.fail("nobody listens")
    assert opened.seen == [(caught.value, None)]


async def test_an_exception_in_callback_open_after_a_failure_propagates() -> None:
    def on_open(err: Exception | None) -> None:
        raise LookupError("from the hook") from err

    async with plain_server(callback_connect=lambda _headers, _socket, ready: ready.refuse(403)) as server:
        with pytest.raises(LookupError) as caught:
            async with plain_client(server, callback_open=on_open):
                pytest.fail("the handshake was refused")
    assert isinstance(caught.value.__cause__, anyws.HandshakeRefused)


# -- message_handler ---------------------------------------------------------------------------------------------------


async def test_messages_come_in_order_as_str_and_bytes() -> None:
    def on_open(err: Exception | None, socket: anyws.callbacks.Socket) -> None:
        for message in ("text", b"binary", "", b""):
            socket.message_send(message)

    messages = Calls()
    async with plain_server(callback_open=on_open) as server, plain_client(server, message_handler=messages) as socket:
        assert await messages.wait(4) == [("text", socket), (b"binary", socket), ("", socket), (b"", socket)]


async def test_messages_come_one_at_a_time() -> None:
    def on_open(err: Exception | None, socket: anyws.callbacks.Socket) -> None:
        for number in range(3):
            socket.message_send(str(number))

    async def on_message(message: str) -> None:
        events.append(f"begin {message}")
        await anyio.wait_all_tasks_blocked()
        events.append(f"end {message}")
        if message == "2":
            done.set()

    events: list[str] = []
    done = anyio.Event()
    async with plain_server(callback_open=on_open) as server, plain_client(server, message_handler=on_message):
        await done.wait()
    assert events == ["begin 0", "end 0", "begin 1", "end 1", "begin 2", "end 2"]


async def test_a_slow_handler_slows_the_peer() -> None:
    """And gets every message that the peer sent, once it goes on."""

    async def on_message(message: bytes) -> None:
        await go_on.wait()
        messages(message)

    go_on = anyio.Event()
    messages = Calls()
    peer = Peer("client")
    options = {"stream": peer.stream, "secure": False, "receive_buffer": 20000, "close_timeout": 0.01}
    async with anyws.client_connect({"message_handler": on_message, **options}):
        for number in range(100):
            peer.send(BINARY, bytes([number]) * 5000)
        await anyio.wait_all_tasks_blocked()
        assert peer.stream.consumed < 40000  # the handler's message, the buffer, and what was read at once
        go_on.set()
        assert await messages.wait(100) == [bytes([number]) * 5000 for number in range(100)]


async def test_without_a_handler_messages_are_discarded() -> None:
    """More than all buffers hold goes through."""

    async def on_open(err: Exception | None, socket: anyws.callbacks.Socket) -> None:
        for _ in range(64):
            await socket.send(bytes(1024 * 1024 - 1))
        all_sent.set()

    all_sent = anyio.Event()
    async with plain_server(callback_open=on_open) as server, plain_client(server):
        await all_sent.wait()


# -- masking -----------------------------------------------------------------------------------------------------------


async def test_unmasked_frames_are_refused_by_default() -> None:
    messages = Calls()
    async with plain_server(message_handler=messages) as server, plain_client(server, masking=False) as socket:
        socket.message_send("unmasked")
        await socket.wait_closed()
        assert socket.close_code == 1002
        assert messages.seen == []


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100000])
async def test_unmasked_frames_are_accepted_with_accept_unmasked(size: int) -> None:
    messages = Calls(1)
    async with (
        plain_server(message_handler=messages, accept_unmasked=True) as server,
        plain_client(server, masking=False) as unmasked,
        plain_client(server) as masked,
    ):
        unmasked.message_send("x" * size)
        await messages.wait(1)
        masked.message_send("x" * size)
        assert await messages.wait(2) == ["x" * size] * 2


# -- extensions, subprotocols, headers ---------------------------------------------------------------------------------


async def test_extensions_are_offered() -> None:
    async with headers_of(extensions="x-first; level=1, x-second") as (headers, socket):
        assert headers["sec-websocket-extensions"] == "x-first; level=1, x-second"
        assert "sec-websocket-extensions" not in socket.response.headers


@pytest.mark.parametrize("extensions", ["", "a b", "a;", "a; b=c d", "a; b=", 'a; b="c d"', "a\r\nX-Injected: 1"])
async def test_extensions_follow_the_grammar(extensions: str) -> None:
    with pytest.raises(ValueError, match=r"9\.1"):
        async with anyws.client_connect(extensions=extensions, socket_options={"port": 9}):
            pytest.fail("an invalid offer")


async def test_an_extension_that_a_server_agrees_to_fails_the_handshake() -> None:
    failure, opened = await failed_with(b"Sec-WebSocket-Extensions: x-first\r\n", extensions="x-first")
    assert "x-first" in str(failure)
    assert opened == [(failure, None)]


@pytest.mark.parametrize(
    ("names", "sent", "agreed"),
    [
        ("chat", "chat", "chat"),
        (["superchat", "chat"], "superchat, chat", "chat"),
        (("unknown",), "unknown", None),
        (None, None, None),
        ([], None, None),
    ],
)
async def test_sub_protocol(names: Any, sent: str | None, agreed: str | None) -> None:
    opened = Calls()
    async with (
        plain_server(sub_protocol="chat", callback_open=opened) as server,
        plain_client(server, sub_protocol=names) as socket,
    ):
        assert socket.subprotocol == agreed
        _err, theirs = await opened.first()
        assert theirs.subprotocol == agreed
        assert theirs.request.headers.get("sec-websocket-protocol") == sent
        assert socket.response.headers.get("sec-websocket-protocol") == agreed


async def test_the_server_s_order_of_sub_protocols_decides() -> None:
    async with (
        plain_server(sub_protocol=["third", "second", "first"]) as server,
        plain_client(server, sub_protocol=["first", "second"]) as socket,
    ):
        assert socket.subprotocol == "second"


@pytest.mark.parametrize("names", ["two words", "a, b", "", ["a", "a"], ["a", ""]])
async def test_a_sub_protocol_that_is_not_a_token(names: Any) -> None:
    """It is refused before anything is connected; that nobody listens is not noticed."""
    with pytest.raises(ValueError, match="subprotocol"):
        async with anyws.client_connect(sub_protocol=names, socket_options={"port": 1, "host": "127.0.0.1"}):
            pytest.fail("not a token")
    with pytest.raises(ValueError, match="subprotocol"):
        async with anyws.server(sub_protocol=names, secure=False):
            pytest.fail("not a token")


async def test_a_sub_protocol_that_was_not_offered_fails_the_handshake() -> None:
    failure, _ = await failed_with(b"Sec-WebSocket-Protocol: other\r\n", sub_protocol="chat")
    assert "other" in str(failure)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("authentication", "Authorization"),
        ("id", "id"),
        ("type", "type"),
        ("proxy_authorization", "Proxy-Authorization"),
    ],
)
async def test_options_that_are_headers(option: str, name: str) -> None:
    async with headers_of(**{option: "some value"}) as (headers, _):
        assert headers.get_all(name) == ["some value"]
    async with headers_of() as (headers, _):
        assert name not in headers


async def test_additional_headers_are_sent_as_well() -> None:
    async with headers_of(id="1", headers={"X-More": "2"}, origin=None) as (headers, _):
        assert (headers["id"], headers["x-more"]) == ("1", "2")


async def test_a_header_that_cannot_be_sent() -> None:
    opened = Calls()
    async with plain_server(callback_open=opened) as server:
        with pytest.raises(ValueError, match="Authorization"):
            async with plain_client(server, authentication="a\r\nX-Injected: 1"):
                pytest.fail("an invalid header")
    assert opened.seen == []


async def test_resource() -> None:
    opened = Calls()
    async with (
        plain_server(callback_open=opened) as server,
        plain_client(server, resource="/chat/room?name=a%20b&x="),
    ):
        _err, theirs = await opened.first()
        assert theirs.request.target == "/chat/room?name=a%20b&x="


@pytest.mark.parametrize("resource", ["chat", "", ".example.com/", "@example.com/"])
async def test_a_resource_must_begin_with_a_slash(resource: str) -> None:
    """Else it would become a part of the host's name."""
    for where in ({"port": 9}, {"path": "/nowhere"}):
        with pytest.raises(ValueError, match="resource"):
            async with anyws.client_connect(resource=resource, secure=False, socket_options=where):
                pytest.fail("no resource")


# -- secure ------------------------------------------------------------------------------------------------------------


async def test_secure_by_default(pems: Pems) -> None:
    async with tls_server(pems) as server, tls_client(server, pems) as socket:
        assert socket.extra(TLSAttribute.tls_version).startswith("TLSv1.")
        assert await socket.ping() >= 0


async def test_a_certificate_of_an_unknown_authority_is_refused(pems: Pems) -> None:
    opened = Calls()
    others = Pems.issued_by(trustme.CA(), "localhost")
    async with tls_server(pems) as server:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            async with tls_client(server, others, callback_open=opened):
                pytest.fail("an untrusted certificate")
    assert opened.seen == [(caught.value, None)]


async def test_a_certificate_for_another_name_is_refused(pems: Pems) -> None:
    async with tls_server(pems) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.com"):
            async with tls_client(server, pems, socket_options={"servername": "example.com"}):
                pytest.fail("another name")


async def test_tls_and_plain_tcp_do_not_mix(pems: Pems) -> None:
    async with plain_server() as server:
        with pytest.raises((ssl.SSLError, OSError)):
            async with tls_client(server, pems):
                pytest.fail("no TLS")
    async with tls_server(pems) as server:
        with pytest.raises(anyws.HandshakeError):
            async with plain_client(server):
                pytest.fail("no TLS")
