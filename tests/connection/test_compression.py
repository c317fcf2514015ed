"""permessage-deflate on real connections: presets, the choice for each message, pieces, limits, other libraries."""

from __future__ import annotations

import contextlib
import logging
import random
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest

import anyws
from anyws._connection.options import _log_library
from anyws.protocol import Opcode, default_zlib, speedups_in_use
from anyws.testing import scripted_peer, websocket_pair
from tests.peers import echo, ended, uri_of

DEFLATE = "permessage-deflate"
TEXT = "Grüße, 世界! " * 100
MESSAGES: list[Any] = ["", "short", TEXT, TEXT, b"", b"\0" * 10_000, random.Random(1).randbytes(10_000)]
HEADER = "Sec-WebSocket-Extensions"

# (option, the offer, the answer of a server with the same option)
PRESETS = [
    pytest.param(
        True,
        f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12",
        f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12",
        id="True",
    ),
    pytest.param(
        "default",
        f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12",
        f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12",
        id="default",
    ),
    pytest.param(
        "memory",
        f"{DEFLATE}; server_max_window_bits=9; client_max_window_bits=9",
        f"{DEFLATE}; server_max_window_bits=9; client_max_window_bits=9",
        id="memory",
    ),
    pytest.param("ratio", f"{DEFLATE}; client_max_window_bits", DEFLATE, id="ratio"),
    pytest.param(
        "speed",
        f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12",
        f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12",
        id="speed",
    ),
    pytest.param(
        anyws.PerMessageDeflate(server_no_context_takeover=True, client_max_window_bits=8, threshold=0),
        f"{DEFLATE}; server_no_context_takeover; client_max_window_bits=8",
        f"{DEFLATE}; server_no_context_takeover; client_max_window_bits=8",
        id="exact",
    ),
]
OFF = [pytest.param(None, id="None"), pytest.param(False, id="False")]


async def exchange(one: anyws.WebSocket, other: anyws.WebSocket, messages: Sequence[Any] = MESSAGES) -> None:
    """Send messages both ways."""
    for sender, receiver in ((one, other), (other, one)):
        for message in messages:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sender.send, message)
                assert await receiver.receive() == message


@pytest.mark.parametrize(("compression", "offer", "answer"), PRESETS)
async def test_two_ends_with_the_same_option(compression: Any, offer: str, answer: str) -> None:
    options = {"compression": compression}
    async with websocket_pair(client_options=options, server_options=options) as (client, server):
        assert server.request.headers[HEADER] == offer
        assert client.response.headers[HEADER] == answer
        await exchange(client, server)


@pytest.mark.parametrize("compression", OFF)
@pytest.mark.parametrize("other", [None, True])
async def test_off_is_off(compression: Any, other: Any) -> None:
    for client_has, server_has in ((compression, other), (other, compression)):
        async with websocket_pair(
            client_options={"compression": client_has}, server_options={"compression": server_has}
        ) as (client, server):
            assert (HEADER in server.request.headers) is (client_has is True)
            assert HEADER not in client.response.headers
            await exchange(client, server)


@pytest.mark.parametrize("client_has", ["memory", "ratio"])
@pytest.mark.parametrize("server_has", [True, "ratio", anyws.PerMessageDeflate(server_max_window_bits=8)])
async def test_real_sockets(client_has: Any, server_has: Any) -> None:
    async with (
        anyws.open_server(echo, "127.0.0.1", 0, compression=server_has) as server,
        anyws.connect(uri_of(server), compression=client_has) as websocket,
    ):
        assert websocket.response.headers[HEADER].startswith(DEFLATE)
        for message in MESSAGES:
            await websocket.send(message)
            assert await websocket.receive() == message


@pytest.mark.skipif(not speedups_in_use, reason="the pure twin leaves I/O to the pump")
async def test_a_whole_compressed_message_takes_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a message took the general path")

    async with (
        anyws.open_server(echo, "127.0.0.1", 0, compression=True) as server,
        anyws.connect(uri_of(server), compression=True) as websocket,
    ):
        monkeypatch.setattr("anyws._connection.sending.Sender.send", fail)
        monkeypatch.setattr("anyws._connection.intake.Intake.feed", fail)
        for message in ("short", TEXT, b"\0" * 10_000):
            await websocket.send(message)
            assert await websocket.receive() == message
        monkeypatch.undo()


async def test_the_log_names_each_module_once(caplog: pytest.LogCaptureFixture) -> None:
    _log_library.cache_clear()
    caplog.set_level(logging.DEBUG, "anyws")
    for compression in (None, True, "default", anyws.PerMessageDeflate(), "memory", anyws.PerMessageDeflate(zlib=zlib)):
        options = {"compression": compression}
        async with websocket_pair(client_options=options, server_options=options):
            pass
    assert [each.getMessage() for each in caplog.records if each.name == "anyws"] == [
        f"compressing with {name}" for name in dict.fromkeys([default_zlib().__name__, "zlib"])
    ]


# -- what is on the wire -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def compressing(**options: Any) -> AsyncIterator[tuple[anyws.WebSocket, anyio.abc.ByteStream]]:
    """A server with compression, beside the bytes that it sends."""
    client_stream, server_stream = anyws.testing.memory_stream_pair(1024 * 1024)
    async with anyio.create_task_group() as tasks, client_stream:
        await client_stream.send(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
        async with anyws.accept(server_stream, **{"compression": "ratio", "close_timeout": None, **options}) as server:
            assert b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" in await client_stream.receive()
            yield server, client_stream
            await client_stream.aclose()
        tasks.cancel_scope.cancel()


HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692, 7.2.3.1
HELLO_FRAME = b"\xc1\x87\0\0\0\0" + HELLO


async def test_the_choice_for_each_message_is_on_the_wire() -> None:
    async with compressing() as (websocket, wire):
        await websocket.send("Hello")
        assert await wire.receive() == b"\x81\x05Hello"
        await websocket.send("Hello", compress=True)
        assert await wire.receive() == b"\xc1\x07" + HELLO
        websocket.send_nowait("Hello", compress=True)
        assert await wire.receive() == b"\xc1\x05\xf2\x00\x11\x00\x00"
        await websocket.send("x" * 200, compress=False)
        assert await wire.receive() == b"\x81\x7e\x00\xc8" + b"x" * 200
        websocket.send_nowait("x" * 100, compress=False)
        assert await wire.receive() == b"\x81\x64" + b"x" * 100
        await websocket.send("x" * 200)
        assert (await wire.receive())[0] == 0xC1
        await websocket.send("Hello", fragment_size=3, compress=True)
        frames = await wire.receive()
        assert frames[0] == 0x41
        await websocket.send(b"", compress=True)
        assert await wire.receive() == b"\xc2\x01\x00"


@pytest.mark.parametrize("compress", [None, True, False])
async def test_an_iterable_is_compressed_as_a_whole(compress: bool | None) -> None:
    async def pieces() -> AsyncIterator[str]:
        for piece in ("Grü", "", "ße ", "✓" * 1000):
            yield piece

    options = {"compression": True}
    async with compressing() as (websocket, wire):
        await websocket.send(pieces(), compress=compress)
        assert (await wire.receive())[0] == (0x01 if compress is False else 0x41)
    async with websocket_pair(client_options=options, server_options=options) as (client, server):
        await client.send(pieces(), compress=compress)
        assert await server.receive() == "Grüße " + "✓" * 1000
        await server.send(pieces(), compress=compress)
        received = [piece async for piece in client.receive_stream()]
        assert "".join(map(str, received)) == "Grüße " + "✓" * 1000


async def test_a_compressed_message_is_received_piece_by_piece() -> None:
    """What a fragment inflates to is there before the message ends."""
    async with compressing() as (websocket, wire):
        await wire.send(b"\x41\x8b\0\0\0\0" + HELLO + b"\0\0\xff\xff")
        stream = websocket.receive_stream()
        assert await anext(stream) == "Hello"
        await wire.send(b"\x80\x87\0\0\0\0" + HELLO)
        assert [piece async for piece in stream] == ["Hello"]
        await wire.send(HELLO_FRAME)
        assert await websocket.receive() == "Hello"


async def test_a_ping_passes_between_compressed_fragments() -> None:
    async with compressing() as (websocket, wire):
        await wire.send(b"\x41\x83\0\0\0\0" + HELLO[:3] + b"\x89\x82\0\0\0\0hi" + b"\x80\x84\0\0\0\0" + HELLO[3:])
        assert await websocket.receive() == "Hello"
        assert await wire.receive() == b"\x8a\x02hi"


# (what the client sends, close code)
REFUSED = [
    pytest.param(b"\xc1\x83\0\0\0\0\xff\xff\xff", 1007, id="garbage"),
    pytest.param(b"\xc9\x80\0\0\0\0", 1002, id="rsv1-on-ping"),
    pytest.param(b"\xa1\x80\0\0\0\0", 1002, id="rsv2"),
    pytest.param(b"\xc2\x88\0\0\0\0" + bytes.fromhex("000500faff48656c"), 1007, id="cut-off"),
]


@pytest.mark.parametrize(("frame", "code"), REFUSED)
async def test_what_is_refused(frame: bytes, code: int) -> None:
    async with compressing() as (websocket, wire):
        await wire.send(HELLO_FRAME + frame)
        assert await websocket.receive() == "Hello"
        broken = await ended(websocket)
        assert isinstance(broken, anyws.ConnectionClosedError)
        assert (await wire.receive())[2:4] == code.to_bytes(2, "big")


@pytest.mark.parametrize("size", [1000, 1001])
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_the_limit_counts_what_comes_out(size: int, in_pieces: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 100):
            yield bytes(min(100, size - start))

    server_options = {"compression": True, "max_message_size": 1000}
    async with websocket_pair(client_options={"compression": True}, server_options=server_options) as (client, server):
        await client.send(pieces() if in_pieces else bytes(size))
        if size <= 1000:
            assert await server.receive() == bytes(size)
            return
        with pytest.raises(anyws.ConnectionClosedError):
            await server.receive()
        assert (await ended(client)).code == 1009


async def test_what_is_compressed_without_agreement_is_1002() -> None:
    async with scripted_peer(options={"compression": True}) as (websocket, peer):
        await peer.send_frame(Opcode.TEXT, HELLO, rsv=0x40)
        with pytest.raises(anyws.ConnectionClosedError):
            await websocket.receive()
        assert (await peer.receive_frame()).close.code == 1002


async def test_a_wish_without_agreement_changes_nothing() -> None:
    async with scripted_peer() as (websocket, peer):
        await websocket.send("Hello", compress=True)
        frame = await peer.receive_frame()
        assert (frame.opcode, frame.payload) == (Opcode.TEXT, b"Hello")


# -- options -----------------------------------------------------------------------------------------------------------

# (value, what the message says)
WRONG: list[Any] = [
    pytest.param("fast", r"compression must be .*memory.*default.*ratio.*, not str \('fast'\)", id="another-name"),
    pytest.param("", r"not str \(''\)", id="empty"),
    pytest.param(1, r"compression must be .*PerMessageDeflate.*, not int \(1\)", id="int"),
    pytest.param({"level": 9}, r"not dict", id="dict"),
    pytest.param(["default"], r"not list", id="list"),
    pytest.param(anyws.PerMessageDeflate, r"not ABCMeta", id="class"),
]


@pytest.mark.parametrize(("value", "message"), WRONG)
async def test_another_value_says_what_was_expected(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        async with anyws.connect("ws://localhost/", compression=value):
            pytest.fail("connected")
    with pytest.raises(TypeError, match=message):
        async with anyws.open_server(echo, "127.0.0.1", 0, compression=value):
            pytest.fail("served")


@pytest.mark.parametrize("value", [[DEFLATE], [None], 1])
async def test_what_is_no_extension_says_so(value: Any) -> None:
    with pytest.raises(TypeError, match=r"extension"):
        async with anyws.connect("ws://localhost/", extensions=value):
            pytest.fail("connected")
    with pytest.raises(TypeError, match=r"extension"):
        async with anyws.open_server(echo, "127.0.0.1", 0, extensions=value):
            pytest.fail("served")


async def test_the_same_extension_by_both_options_is_agreed_on_once() -> None:
    options = {"compression": "memory", "extensions": [anyws.PerMessageDeflate(server_max_window_bits=10)]}
    async with websocket_pair(client_options=options, server_options=options) as (client, server):
        assert server.request.headers[HEADER].count(DEFLATE) == 2
        assert client.response.headers[HEADER] == f"{DEFLATE}; server_max_window_bits=10"
        await exchange(client, server)
