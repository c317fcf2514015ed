"""TLS over byte streams, with and without I/O."""

from __future__ import annotations

import ssl

import anyio
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream as AnyIOTLSStream

import anyws
from anyws._transport.listening import listen_tcp
from anyws._transport.tls import TLSRecords, TLSStream
from anyws.testing import memory_stream_pair
from tests.frames import frame_bytes, opening_response
from tests.harness import address_of

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def contexts(request: pytest.FixtureRequest, certificate_authority: trustme.CA) -> Contexts:
    """The contexts of client and server for one TLS version."""
    version = ssl.TLSVersion[request.param.replace(".", "_")]
    client, server = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for context in (client, server):
        context.minimum_version = context.maximum_version = version
    certificate_authority.configure_trust(client)
    certificate_authority.issue_cert("localhost").configure_cert(server)
    return client, server


def open_records(contexts: Contexts) -> tuple[TLSRecords, TLSRecords]:
    """Make the handshake; return the client's side and the server's."""
    client = TLSRecords(contexts[0], server_side=False, hostname="localhost")
    server = TLSRecords(contexts[1], server_side=True, hostname=None)
    ends, done, data = (client, server), [False, False], b""
    for turn in range(10):
        which = turn % 2
        if not done[which]:
            done[which] = ends[which].handshake(data)
        elif data:
            assert ends[which].decrypt(data) == b""  # session tickets
        data = ends[which].data_to_send()
    assert done == [True, True]
    return ends


# -- records -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 1000, 1_000_000])
def test_records_can_be_split_anywhere(contexts: Contexts, step: int) -> None:
    client, server = open_records(contexts)
    sent = [b"a", b"", b"b" * 20_000, b"c" * 150_000]
    data = b"".join(client.encrypt(sent))
    received = b"".join(server.decrypt(data[start : start + step]) for start in range(0, len(data), step))
    assert received == b"".join(sent)
    assert server.end is None


@pytest.mark.parametrize("step", [1000, 16_384, 1_000_000])
@pytest.mark.parametrize("size", [1, 100, 16_384, 100_000, 200_000])
def test_data_is_decrypted_into_a_buffer_and_the_rest_comes_after_it(contexts: Contexts, step: int, size: int) -> None:
    client, server = open_records(contexts)
    sent = bytes(range(250)) * 600
    data, buffer, count, rest = b"".join(client.encrypt([sent])) + client.close(), bytearray(size), 0, b""
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        if count < size:
            count = server.decrypt_into(piece, memoryview(buffer), count)
            rest += server.decrypt(b"") if count == size else b""
        else:
            rest += server.decrypt(piece)
    assert bytes(buffer[:count]) + rest == sent
    assert count == min(size, len(sent))
    assert isinstance(server.end, anyio.EndOfStream)
    assert not server.is_quiet


def test_a_buffer_keeps_what_came_before_a_violation(contexts: Contexts) -> None:
    client, server = open_records(contexts)
    buffer = bytearray(100)
    data = b"".join(client.encrypt([b"last words"])) + b"\x17\x03\x03\x00\x20" + bytes(32)
    assert server.decrypt_into(data, memoryview(buffer), 5) == 15
    assert buffer[5:15] == b"last words"
    assert isinstance(server.end, ssl.SSLError)
    assert server.decrypt_into(b"whatever", memoryview(buffer), 15) == 15


def test_a_large_message_is_encrypted_in_pieces(contexts: Contexts) -> None:
    client, _ = open_records(contexts)
    pieces = client.encrypt([bytes(200_000)])
    assert [len(piece) // 65536 for piece in pieces] == [1, 1, 1, 0]


def test_close_notify_is_reported_after_the_last_data(contexts: Contexts) -> None:
    client, server = open_records(contexts)
    data = b"".join(client.encrypt([b"last words"])) + client.close()
    assert server.decrypt(data) == b"last words"
    assert isinstance(server.end, anyio.EndOfStream)
    assert server.decrypt(b"whatever") == b""


def test_data_is_received_after_our_close_notify(contexts: Contexts) -> None:
    client, server = open_records(contexts)
    server.decrypt(client.close())
    assert client.decrypt(b"".join(server.encrypt([b"last words"]))) == b"last words"
    assert client.end is None
    assert client.decrypt(server.close()) == b""
    assert isinstance(client.end, anyio.EndOfStream)


def test_nothing_can_be_sent_after_our_close_notify(contexts: Contexts) -> None:
    client, _ = open_records(contexts)
    client.close()
    with pytest.raises(ssl.SSLError):
        client.encrypt([b"more"])


def test_data_before_a_violation_is_not_lost(contexts: Contexts) -> None:
    client, server = open_records(contexts)
    data = b"".join(client.encrypt([b"last words"])) + b"\x17\x03\x03\x00\x20" + bytes(32)
    assert server.decrypt(data) == b"last words"
    assert isinstance(server.end, ssl.SSLError)


# -- the stream --------------------------------------------------------------------------------------------------------


async def open_streams(contexts: Contexts) -> tuple[TLSStream, TLSStream]:
    """Make the handshake over memory; return the client's stream and the server's."""
    ends: dict[str, TLSStream] = {}
    near, far = memory_stream_pair()

    async def wrap(name: str, stream: ByteStream) -> None:
        is_server = name == "server"
        context = contexts[is_server]
        ends[name] = await TLSStream.wrap(
            stream, context, server_side=is_server, hostname=None if is_server else "localhost"
        )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wrap, "client", near)
        tasks.start_soon(wrap, "server", far)
    return ends["client"], ends["server"]


async def test_the_stream_returns_at_most_max_bytes(contexts: Contexts) -> None:
    client, server = await open_streams(contexts)
    async with client, server:
        await client.send(b"hello")
        assert [await server.receive(2), await server.receive(2), await server.receive()] == [b"he", b"ll", b"o"]
        await client.send(b"bye")
        await client.send_eof()
        assert await server.receive() == b"bye"
        with pytest.raises(anyio.EndOfStream):
            await server.receive()
        await server.send(b"still open")
        assert await client.receive() == b"still open"


async def test_an_end_without_close_notify_is_an_error(contexts: Contexts) -> None:
    client, server = await open_streams(contexts)
    async with server:
        await client.transport_stream.aclose()
        with pytest.raises(anyio.BrokenResourceError, match="close_notify"):
            await server.receive()


async def test_a_stream_is_broken_once_a_send_was_cancelled(contexts: Contexts) -> None:
    client, server = await open_streams(contexts)
    async with server, client:
        with anyio.move_on_after(0):
            await client.send(bytes(10_000_000))
        with pytest.raises(anyio.BrokenResourceError, match="cancelled"):
            await client.send(b"more")


async def test_attributes_match_those_of_anyio(contexts: Contexts) -> None:
    client, server = await open_streams(contexts)
    async with client, server:
        assert client.extra(TLSAttribute.tls_version) == contexts[0].maximum_version.name.replace("_", ".")
        assert (client.extra(TLSAttribute.server_side), server.extra(TLSAttribute.server_side)) == (False, True)
        certificate = client.extra(TLSAttribute.peer_certificate)
        assert certificate is not None
        assert certificate["subjectAltName"] == (("DNS", "localhost"),)
        assert client.extra(TLSAttribute.ssl_object).cipher() == client.extra(TLSAttribute.cipher)
        for attribute in (
            TLSAttribute.alpn_protocol,
            TLSAttribute.channel_binding_tls_unique,
            TLSAttribute.peer_certificate_binary,
            TLSAttribute.shared_ciphers,
            TLSAttribute.standard_compatible,
        ):
            server.extra(attribute)


class OtherContext(ssl.SSLContext):
    """A subclass, which may access the system."""


async def test_a_subclass_of_ssl_context(certificate_authority: trustme.CA, server_ssl_context: ssl.SSLContext) -> None:
    context = OtherContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate_authority.configure_trust(context)
    client, server = await open_streams((context, server_ssl_context))
    async with client, server:
        await client.send(b"hello")
        assert await server.receive() == b"hello"


async def test_the_peer_learns_why_the_handshake_failed(server_ssl_context: ssl.SSLContext) -> None:
    near, far = memory_stream_pair()
    async with near, far, anyio.create_task_group() as tasks:

        async def connect() -> None:
            with pytest.raises(ssl.SSLCertVerificationError):
                await TLSStream.wrap(near, ssl.create_default_context(), server_side=False, hostname="localhost")

        tasks.start_soon(connect)
        server = await _wrap_or_error(far, server_ssl_context)
        if isinstance(server, TLSStream):  # TLS 1.3: the server has ended its handshake before
            with pytest.raises(ssl.SSLError, match=r"(?i)alert unknown ca"):
                await server.receive()
        else:
            assert "alert unknown ca" in str(server).lower()


async def _wrap_or_error(stream: ByteStream, context: ssl.SSLContext) -> TLSStream | ssl.SSLError:
    try:
        return await TLSStream.wrap(stream, context, server_side=True)
    except ssl.SSLError as exc:
        return exc


# -- below a connection ------------------------------------------------------------------------------------------------

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize("together", [True, False], ids=["with the request", "after the handshake"])
async def test_messages_and_close_notify_in_one_segment(
    together: bool, client_ssl_context: ssl.SSLContext, server_ssl_context: ssl.SSLContext
) -> None:
    """The socket will not be readable again, so the end must be noticed immediately."""
    received: list[str | bytes] = []
    ended: list[anyws.ConnectionClosed] = []
    done = anyio.Event()

    async def handler(websocket: anyws.WebSocket) -> None:
        try:
            while True:
                received.append(await websocket.receive())
        except anyws.ConnectionClosed as exc:
            ended.append(exc)
        done.set()

    async with (
        anyws.open_server(handler, "127.0.0.1", 0, ssl_context=server_ssl_context) as server,
        await anyio.connect_tcp(*server.addresses[0]) as socket,
    ):
        client = await TLSStream.wrap(socket, client_ssl_context, server_side=False, hostname="localhost")
        message = frame_bytes(1, b"last words", masked=True)
        if together:
            pieces = client.records.encrypt([REQUEST, message])
        else:
            await client.send(REQUEST)
            assert (await client.receive()).startswith(b"HTTP/1.1 101 ")
            pieces = client.records.encrypt([message])
        await socket.send(b"".join(pieces) + client.records.close())
        with anyio.fail_after(5):
            await done.wait()
    assert received == ["last words"]
    assert (ended[0].code, ended[0].__cause__) == (1006, None)


async def test_a_tls_stream_of_anyio_works_too(
    client_ssl_context: ssl.SSLContext, server_ssl_context: ssl.SSLContext
) -> None:
    async def echo(websocket: anyws.WebSocket) -> None:
        async for message in websocket:
            await websocket.send(message)

    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        stream = await AnyIOTLSStream.wrap(
            await anyio.connect_tcp(*server.addresses[0]), hostname="localhost", ssl_context=client_ssl_context
        )
        async with anyws.connect("ws://localhost/", stream=stream) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
            assert websocket.extra(SocketAttribute.remote_port) == server.addresses[0][1]
        assert websocket.close_code == 1000


async def test_tls_responses_are_sent_immediately(certificate_authority: trustme.CA) -> None:
    """A server can request the certificate later (RFC 8446, section 4.6.2) without waiting for a message."""
    client_context, server_context = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("ann@example.com").configure_cert(client_context)
    certificate_authority.issue_cert("localhost").configure_cert(server_context)
    for context in (client_context, server_context):
        certificate_authority.configure_trust(context)
        context.post_handshake_auth = True
    server_context.verify_mode = ssl.CERT_OPTIONAL

    async def serve(socket: ByteStream) -> None:
        async with socket:
            stream = await TLSStream.wrap(socket, server_context, server_side=True)
            request = await stream.receive()
            await stream.send(opening_response(request))
            tls = stream.records.ssl_object
            tls.verify_client_post_handshake()
            tls.do_handshake()
            await socket.send(stream.records.data_to_send())
            while not tls.getpeercert():
                stream.records.decrypt(await socket.receive())
            asked.set()
            await anyio.sleep_forever()

    asked = anyio.Event()
    (listener,) = await listen_tcp("127.0.0.1", 0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        uri = "wss://localhost:{1}/".format(*address_of(listener))
        async with anyws.connect(uri, ssl_context=client_context, close_timeout=0.01, ping_interval=None):
            with anyio.fail_after(10):
                await asked.wait()
        tasks.cancel_scope.cancel()
