"""The streams of clients: TLS, unix sockets, custom streams, and frames in the same segment as the response."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import anyws
from tests.peers import TEXT, Wire, connected, echo, frame_bytes, opening_response, scripted_server, uri_of

# -- frames behind the answer, streams of the user ---------------------------------------------------------------------


async def test_frames_in_the_same_segment_as_the_response() -> None:
    frames = frame_bytes(TEXT, b"first", masked=False) + frame_bytes(TEXT, b"second", masked=False)[:3]
    async with (
        scripted_server(lambda request: opening_response(request) + frames) as uri,
        anyws.connect(uri) as websocket,
    ):
        assert await websocket.receive() == "first"
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.receive()


async def test_a_close_in_the_same_segment_as_the_response() -> None:
    close = frame_bytes(8, b"\x03\xe9bye", masked=False)
    async with (
        scripted_server(lambda request: opening_response(request) + close) as uri,
        anyws.connect(uri) as websocket,
    ):
        with pytest.raises(anyws.ConnectionClosedOK) as raised:
            await websocket.receive()
    assert raised.value.received == anyws.Close(1001, "bye")


async def test_informational_responses_before_the_101_are_skipped() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with (
        scripted_server(lambda request: hints + opening_response(request)) as uri,
        anyws.connect(uri) as websocket,
    ):
        assert websocket.response.status == 101


async def test_a_custom_stream() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        stream = await anyio.connect_tcp(*server.addresses[0])
        async with anyws.connect("ws://example.com/", stream=stream) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()


async def test_tls_over_a_custom_stream(server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        stream = await anyio.connect_tcp(*server.addresses[0])
        async with anyws.connect("wss://localhost/", stream=stream, ssl_context=client_ssl_context) as websocket:
            assert websocket.extra(TLSAttribute.server_side) is False
            await websocket.send("hello")
            assert await websocket.receive() == "hello"


async def test_unix_socket(tmp_path: Path) -> None:
    async with (
        anyws.open_server(echo, path=str(tmp_path / "a socket")) as server,
        anyws.connect(f"ws+unix:{tmp_path}/a%20socket:/chat?a=b") as websocket,
    ):
        assert websocket.request.target == "/chat?a=b"
        assert websocket.extra(SocketAttribute.remote_address) == server.addresses[0]
        await websocket.send("hello")
        assert await websocket.receive() == "hello"


async def test_local_address() -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        async with anyws.connect(uri_of(server), local_host="127.0.0.2") as websocket:
            assert websocket.extra(SocketAttribute.local_address)[0] == "127.0.0.2"
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        async with anyws.connect(uri_of(server), local_host="127.0.0.1", local_port=port) as websocket:
            assert websocket.extra(SocketAttribute.local_address) == ("127.0.0.1", port)


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_tls(host: str, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        uri = f"wss://{host}:{server.addresses[0][1]}/"
        async with anyws.connect(uri, ssl_context=client_ssl_context) as websocket:
            await websocket.send("x" * 200_000)
            assert await websocket.receive() == "x" * 200_000


@pytest.mark.parametrize(
    ("options", "trusted", "problem"),
    [
        ({}, False, "self-signed|unable to get local issuer"),
        ({"server_hostname": "example.com"}, True, "Hostname mismatch"),
    ],
)
async def test_an_untrusted_certificate(
    options: dict[str, str],
    trusted: bool,
    problem: str,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    context = client_ssl_context
    if not trusted:
        context = ssl.create_default_context()
        trustme.CA().configure_trust(context)
    async with anyws.open_server(echo, "127.0.0.1", 0, ssl_context=server_ssl_context) as server:
        uri = uri_of(server, scheme="wss")
        with pytest.raises(ssl.SSLCertVerificationError, match=problem):
            await connected(uri, ssl_context=context, **options)
        with pytest.raises(ssl.SSLCertVerificationError):  # the system's trust store does not know it
            await connected(uri)


async def test_tls_with_a_server_that_does_not_use_tls(client_ssl_context: ssl.SSLContext) -> None:
    async with anyws.open_server(echo, "127.0.0.1", 0) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connected(uri_of(server, scheme="wss"), ssl_context=client_ssl_context)


async def test_a_server_that_disconnects_during_the_tls_handshake(client_ssl_context: ssl.SSLContext) -> None:
    wire = Wire(lambda _: None)
    wire.incoming_ended = True
    with pytest.raises(OSError, match="TLS") as raised:
        await connected("wss://localhost/", stream=wire, ssl_context=client_ssl_context)
    assert isinstance(raised.value, ConnectionError | ssl.SSLError)
    assert wire.is_closed
