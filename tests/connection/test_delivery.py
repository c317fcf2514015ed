"""What was accepted is delivered as long as the peer takes any of it; otherwise somebody is told."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

import anyws
from tests.frames import take_frame
from tests.peers import (
    BINARY,
    CLOSE,
    REQUEST,
    Meeting,
    Peer,
    Side,
    meeting as meet,
    memory_only,
    on_mock_clock,
    opening_response,
)

LARGE = 500_000


class SlowStream(ByteStream):
    """Takes nine seconds for each piece that is written, once it is told so."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.pause = 0.0

    async def send(self, item: bytes) -> None:
        await anyio.sleep(self.pause)
        await self.stream.send(item)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self.stream.receive(max_bytes)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {}


@asynccontextmanager
async def slowly(end: ByteStream) -> AsyncIterator[ByteStream]:
    yield SlowStream(end)


def slow_down(websocket: anyws.WebSocket) -> None:
    stream = websocket._link.stream
    assert isinstance(stream, SlowStream)
    stream.pause = 9


async def answer_close(peer: Peer, received: list[bytes]) -> None:
    while (frame := await peer.frame()).opcode != CLOSE:
        received.append(frame.payload)
    peer.send_close()
    peer.send_eof()


@on_mock_clock
async def test_a_close_takes_as_long_as_the_peer_takes_something(ours: Side) -> None:
    received: list[bytes] = []
    async with meet(ours, transport=slowly, close_timeout=10, max_message_size=None) as (websocket, peer):
        slow_down(websocket)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_close, peer, received)
            begun = anyio.current_time()
            await websocket.send(bytes(LARGE))
            await websocket.aclose()
        assert anyio.current_time() - begun > 60
        assert [len(payload) for payload in received] == [LARGE]
        assert websocket.close_code == 1000


@on_mock_clock
async def test_the_peers_close_may_come_late_after_a_long_transfer(ours: Side) -> None:
    async with meet(ours, transport=slowly, close_timeout=10) as (websocket, peer):
        slow_down(websocket)

        async def answer_late() -> None:
            while (await peer.frame()).opcode != CLOSE:
                pass
            await anyio.sleep(9.5)
            peer.send_close()
            peer.send_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_late)
            await websocket.send(bytes(LARGE))
            await websocket.aclose()
        assert websocket.close_code == 1000


@memory_only
@on_mock_clock
async def test_a_block_tells_what_was_not_delivered(ours: Side, meeting: Meeting) -> None:
    with pytest.raises(anyws.ConnectionClosedError, match="100 bytes of messages were not delivered") as raised:
        async with meeting(ours, close_timeout=3, ping_interval=None) as (websocket, peer):
            peer.stop_reading()
            await websocket.send(b"")  # waits in the stream
            header = 6 if ours == "client" else 2
            await websocket.send(bytes(100 - 2 * header))
            peer.send_eof()
            await websocket.aclose()
    assert raised.value.undelivered == 100
    assert raised.value.code == 1006


@memory_only
@on_mock_clock
async def test_who_was_told_once_is_not_told_again(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, ping_interval=None) as (websocket, peer):
        peer.stop_reading()
        await websocket.send(bytes(1000))
        peer.cut()
        with pytest.raises(anyws.ConnectionClosedError) as raised:
            await websocket.receive()
        assert raised.value.undelivered >= 1000
        await websocket.aclose()


@memory_only
@on_mock_clock
async def test_a_peer_that_has_closed_wanted_no_more(ours: Side, meeting: Meeting) -> None:
    async with meeting(ours, close_timeout=3) as (websocket, peer):
        peer.stop_reading()
        await websocket.send(bytes(1000))
        peer.send_close()
        await websocket.wait_closed()
        assert websocket.close_code == 1000


@on_mock_clock
async def test_an_exception_of_the_block_is_not_replaced_but_the_loss_is_logged(
    ours: Side, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "anyws")
    peer = Peer(ours)
    opened: AbstractAsyncContextManager[anyws.WebSocket]
    if ours == "client":
        opened = anyws.connect("ws://localhost/", stream=peer.stream, close_timeout=3)
    else:
        opened = anyws.accept(peer.stream, close_timeout=3)
    with pytest.raises(KeyError):
        async with opened as websocket:
            peer.stop_reading()
            await websocket.send(bytes(1000))
            raise KeyError
    (record,) = caplog.records
    assert "bytes of messages were not delivered" in record.message


async def test_for_a_handler_the_loss_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "anyws")

    async def send_and_return(websocket: anyws.WebSocket) -> None:
        await websocket.send(bytes(30_000_000))

    async with anyws.open_server(send_and_return, "127.0.0.1", 0, close_timeout=0.2) as server:
        with socket.create_connection(server.addresses[0]) as silent:
            silent.sendall(REQUEST)
            while not server.connections:
                await anyio.lowlevel.checkpoint()
            while server.connections:
                await anyio.lowlevel.checkpoint()
    (record,) = caplog.records
    assert record.name == "anyws.server"
    assert "bytes of messages were not delivered" in record.message


# -- over TCP: the kernel has bytes as well ----------------------------------------------------------------------------


class SlowPeer(threading.Thread):
    """A server that reads a little at a time without a pause of more than a hundredth of a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.received: list[int] = []
        self.listening = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen()
        self.uri = f"ws://127.0.0.1:{self.listening.getsockname()[1]}/"

    def run(self) -> None:
        connection, _ = self.listening.accept()
        with self.listening, connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            connection.sendall(opening_response(head))
            buffer = bytearray()
            while data := connection.recv(4096):
                buffer += data
                while (frame := take_frame(buffer)) is not None:
                    if frame.opcode == CLOSE:
                        connection.sendall(b"\x88\x02\x03\xe8")
                        return
                    if frame.opcode == BINARY:
                        self.received.append(len(frame.payload))
                time.sleep(0.01)


async def test_over_tcp_a_slow_peer_gets_everything() -> None:
    peer = SlowPeer()
    peer.start()
    async with anyws.connect(peer.uri, close_timeout=1, ping_interval=0.5, ping_timeout=0.5) as websocket:
        raw = websocket.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        await websocket.send(bytes(800_000))
    assert peer.received == [800_000]
    assert websocket.close_code == 1000
    peer.join()


async def test_over_tcp_what_the_kernel_still_holds_is_told() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:

        def accept() -> socket.socket:
            connection, _ = listening.accept()
            connection.sendall(opening_response(connection.recv(4096)))
            return connection

        async with anyio.create_task_group() as tasks:
            accepted: list[socket.socket] = []
            tasks.start_soon(lambda: anyio.to_thread.run_sync(lambda: accepted.append(accept())))
            with pytest.raises(anyws.ConnectionClosedError, match="were not delivered") as raised:
                async with anyws.connect(
                    f"ws://127.0.0.1:{listening.getsockname()[1]}/", close_timeout=0.3, send_buffer=2**26
                ) as websocket:
                    for _ in range(40):
                        await websocket.send(bytes(1_000_000))
        assert raised.value.undelivered > 1_000_000
        accepted[0].close()
