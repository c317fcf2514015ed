"""`Socket.message_send`: opcodes, fragments, and a full send buffer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import anyws
from anyws import Opcode
from tests.callbacks.peers import Calls, plain_client, plain_server
from tests.peers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, Peer, open_sockets


@asynccontextmanager
async def connected(peer: Peer, **options: Any) -> AsyncIterator[anyws.callbacks.Socket]:
    """Connect to a peer that shows the frames; it goes when the block ends."""
    async with anyws.client_connect({"secure": False, "stream": peer.stream, "close_timeout": 5, **options}) as socket:
        yield socket
        peer.cut()


# -- opcodes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "opcode", "expected"),
    [
        ("text", None, Frame(TEXT, b"text")),
        (b"binary", None, Frame(BINARY, b"binary")),
        (bytearray(b"binary"), None, Frame(BINARY, b"binary")),
        (memoryview(b"binary"), None, Frame(BINARY, b"binary")),
        ("", None, Frame(TEXT, b"")),
        ("text", Opcode.TEXT, Frame(TEXT, b"text")),
        ("na\u00efve".encode(), Opcode.TEXT, Frame(TEXT, b"na\xc3\xafve")),
        ("na\u00efve", Opcode.BINARY, Frame(BINARY, b"na\xc3\xafve")),
        (b"binary", 2, Frame(BINARY, b"binary")),
        (b"payload", Opcode.PING, Frame(PING, b"payload")),
        ("payload", Opcode.PING, Frame(PING, b"payload")),
        (b"", Opcode.PONG, Frame(PONG, b"")),
        ("payload", 10, Frame(PONG, b"payload")),
        ("a reason", Opcode.CLOSE, Frame(CLOSE, b"\x03\xe8a reason")),
        (b"a reason", Opcode.CLOSE, Frame(CLOSE, b"\x03\xe8a reason")),
        ("", Opcode.CLOSE, Frame(CLOSE, b"\x03\xe8")),
    ],
)
async def test_the_frame_that_is_sent(message: Any, opcode: int | None, expected: Frame) -> None:
    peer = Peer("client")
    async with connected(peer) as socket:
        socket.message_send(message, opcode)
        assert await peer.frame() == expected


@pytest.mark.parametrize(
    ("message", "arguments", "error"),
    [
        (b"\xff", {"opcode": Opcode.TEXT}, UnicodeDecodeError),
        ("\ud800", {}, UnicodeEncodeError),
        ("\ud800", {"opcode": Opcode.CLOSE}, UnicodeEncodeError),
        (b"\xff", {"opcode": Opcode.CLOSE}, UnicodeDecodeError),
        ("more", {"opcode": Opcode.CONTINUATION}, ValueError),
        ("more", {"opcode": 3}, ValueError),
        ("more", {"opcode": 16}, ValueError),
        ("more", {"opcode": -1}, ValueError),
        (b"x" * 126, {"opcode": Opcode.PING}, ValueError),
        (b"x" * 126, {"opcode": Opcode.PONG}, ValueError),
        ("more", {"fragment_size": 0}, ValueError),
        ("more", {"fragment_size": -4}, ValueError),
        (5, {}, TypeError),
        (None, {}, TypeError),
        (["text"], {}, TypeError),
    ],
)
async def test_a_message_that_cannot_be_sent_does_not_change_the_connection(
    message: Any, arguments: dict[str, Any], error: type[Exception]
) -> None:
    peer = Peer("client")
    async with connected(peer) as socket:
        with pytest.raises(error):
            socket.message_send(message, **arguments)
        socket.message_send("next")
        assert await peer.frame() == Frame(TEXT, b"next")


async def test_an_invalid_opcode_lists_the_valid_ones() -> None:
    async with connected(Peer("client")) as socket:
        with pytest.raises(ValueError, match=r"opcode 3: expected 1 \(TEXT\), 2 \(BINARY\), 8 \(CLOSE\), 9 \(PING\)"):
            socket.message_send("", 3)


async def test_a_ping_is_answered() -> None:
    peer = Peer("client")
    async with connected(peer) as socket:
        socket.message_send("payload", Opcode.PING)
        assert await peer.frame() == Frame(PING, b"payload")
        peer.send(PONG, b"payload")
        socket.message_send("still open")
        assert await peer.frame() == Frame(TEXT, b"still open")


async def test_close_begins_the_closing_handshake() -> None:
    async with plain_server() as server, plain_client(server) as socket:
        socket.message_send("done", Opcode.CLOSE)
        with pytest.raises(anyws.ConnectionClosedLocally):
            socket.message_send("after the Close")
        await socket.wait_closed()
        assert socket.close_code == 1000


# -- fragments ---------------------------------------------------------------------------------------------------------


async def test_ten_bytes_at_fragment_size_four() -> None:
    """The original sent 8 of them."""
    peer = Peer("client")
    async with connected(peer) as socket:
        socket.message_send(b"0123456789", fragment_size=4)
        assert [await peer.frame() for _ in range(3)] == [
            Frame(BINARY, b"0123", fin=False),
            Frame(CONTINUATION, b"4567", fin=False),
            Frame(CONTINUATION, b"89"),
        ]


@pytest.mark.parametrize("size", [1, 3, 4, 5, 9, 10, 11, 1000])
@pytest.mark.parametrize("message", ["0123456789", b"0123456789", "\u00e4\u00f6\u00fc\u20ac\U0001f600"])
async def test_fragments_arrive_whole(message: str | bytes, size: int) -> None:
    """Also where a fragment ends within a character."""
    messages = Calls(1)
    async with plain_server(message_handler=messages) as server, plain_client(server) as socket:
        socket.message_send(message, fragment_size=size)
        assert await messages.first() == message


# -- room --------------------------------------------------------------------------------------------------------------


def fill(socket: anyws.callbacks.Socket, size: int = 1000) -> list[bytes]:
    """Send until there is no room; return what was accepted."""
    accepted: list[bytes] = []
    with pytest.raises(anyio.WouldBlock):
        while len(accepted) < 1000:
            message = len(accepted).to_bytes(4, "big") + bytes(size)
            socket.message_send(message)
            accepted.append(message)
    return accepted


async def test_backpressure_loses_nothing() -> None:
    """What was accepted arrives, in order; what was refused does not."""
    peer = Peer("client")
    async with connected(peer, send_buffer=10000) as socket:
        peer.stop_reading()
        accepted = fill(socket)
        assert 9 <= len(accepted) <= 11  # one message may stand beyond the bound
        with pytest.raises(anyio.WouldBlock):
            socket.message_send("refused", fragment_size=2)
        peer.go_on_reading()
        for message in accepted:
            assert await peer.frame() == Frame(BINARY, message)
        socket.message_send("after")
        assert await peer.frame() == Frame(TEXT, b"after")


async def test_awaiting_it_waits_for_room() -> None:
    async def send() -> None:
        await socket.message_send(bytes(2000))
        is_done.set()

    peer = Peer("client")
    is_done = anyio.Event()
    async with connected(peer, send_buffer=1000) as socket, anyio.create_task_group() as tasks:
        await socket.message_send(b"there is room")
        assert await peer.frame() == Frame(BINARY, b"there is room")
        peer.stop_reading()
        socket.message_send(bytes(10))
        await anyio.wait_all_tasks_blocked()  # that one is being written
        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        assert not is_done.is_set()
        with pytest.raises(anyio.WouldBlock):
            socket.message_send(b"refused")
        peer.go_on_reading()
        await is_done.wait()
        assert [len((await peer.frame()).payload) for _ in range(2)] == [10, 2000]


async def test_awaiting_it_raises_when_the_connection_is_lost() -> None:
    peer = Peer("client")
    async with connected(peer, send_buffer=1000) as socket:
        peer.stop_reading()
        socket.message_send(bytes(10))
        await anyio.wait_all_tasks_blocked()
        room = socket.message_send(bytes(2000))
        peer.cut()
        with pytest.raises(anyws.ConnectionClosedError):
            await room


async def test_cancelling_the_wait_for_room_does_not_unsend_the_message() -> None:
    peer = Peer("client")
    async with connected(peer, send_buffer=1000) as socket:
        peer.stop_reading()
        socket.message_send(bytes(10))
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            room = socket.message_send(bytes(2000))
            scope.cancel()
            await room
        assert scope.cancelled_caught
        peer.go_on_reading()
        assert [len((await peer.frame()).payload) for _ in range(2)] == [10, 2000]


async def test_a_sync_lambda_that_returns_it_is_awaited() -> None:
    """So an echo in one line has back-pressure: it never meets the bound."""
    count = 200
    echoes = Calls(1)
    async with (
        plain_server(message_handler=lambda message, socket: socket.message_send(message), send_buffer=100) as server,
        plain_client(server, message_handler=echoes) as socket,
    ):
        for number in range(count):
            await socket.message_send(str(number) * 50)
        assert await echoes.wait(count) == [str(number) * 50 for number in range(count)]


async def test_message_send_without_await_in_a_sync_hook() -> None:
    """Nothing warns of what was not awaited."""

    def on_message(message: str, socket: anyws.callbacks.Socket) -> None:
        socket.message_send(f"{message} {message}")

    echoes = Calls(1)
    async with (
        plain_server(message_handler=on_message) as server,
        plain_client(server, message_handler=echoes, callback_open=lambda _err, s: (s.message_send("hi"), None)[1]),
    ):
        assert await echoes.first() == "hi hi"


# -- before and after --------------------------------------------------------------------------------------------------


async def test_sending_after_the_peer_s_close() -> None:
    peer = Peer("client")
    async with connected(peer) as socket:
        peer.send_close(1001, "bye")
        peer.send_eof()
        await socket.wait_closed()
        with pytest.raises(anyws.ConnectionClosedError) as caught:
            socket.message_send("too late")
        assert isinstance(caught.value, anyio.BrokenResourceError)
        assert caught.value.received == anyws.Close(1001, "bye")


async def test_no_resources_are_left_behind() -> None:
    before = open_sockets()
    async with plain_server() as server, plain_client(server) as socket:
        await socket.message_send("hello")
    assert open_sockets() <= before
