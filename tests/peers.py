"""What the tests of the I/O layer share: peers that say exactly what a test wants, in memory or with a socket."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint

import anyws

from .frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Frame,
    accept_value,
    close_payload,
    frame_bytes,
    opening_response,
    take_frame,
)
from .harness import Transport, address_of, cancelling_at, in_memory, on_mock_clock, open_sockets, resolve_to

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "REQUEST",
    "TEXT",
    "Frame",
    "Meeting",
    "Peer",
    "Side",
    "StreamPeer",
    "Wire",
    "accept_value",
    "address_of",
    "cancelling_at",
    "close_payload",
    "connected",
    "echo",
    "ended",
    "frame_bytes",
    "meeting",
    "memory_only",
    "on_mock_clock",
    "open_sockets",
    "opening_response",
    "resolve_to",
    "scripted_server",
    "uri_of",
]

Side = Literal["client", "server"]


# -- a peer without a socket -------------------------------------------------------------------------------------------


class Wire(ByteStream):
    """The stream that anyws gets; its other end is a `Peer`, that is the test itself."""

    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._on_data = on_data
        self._incoming: deque[bytes] = deque()
        self._changed = anyio.Event()
        self.incoming_ended = False
        self.is_reading = True
        self.is_cut = False
        self.is_closed = False
        self.is_ended = False  # by anyws
        self.consumed = 0
        self.given = 0

    def change(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        while not condition():
            await self._changed.wait()

    def give(self, data: bytes) -> None:
        """Let bytes come in."""
        self._incoming.append(data)
        self.given += len(data)
        self.change()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await checkpoint()
        await self.wait_for(lambda: bool(self._incoming) or self.incoming_ended or self.is_closed or self.is_cut)
        if self.is_closed:
            raise anyio.ClosedResourceError
        if self._incoming:
            data = self._incoming.popleft()
            if len(data) > max_bytes:
                self._incoming.appendleft(data[max_bytes:])
            self.consumed += len(data[:max_bytes])
            self.change()
            return data[:max_bytes]
        if self.is_cut:
            raise anyio.BrokenResourceError
        raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        await checkpoint()
        await self.wait_for(lambda: self.is_reading or self.is_closed or self.is_cut)
        if self.is_closed or self.is_ended:
            raise anyio.ClosedResourceError
        if self.is_cut:
            raise anyio.BrokenResourceError
        self._on_data(item)
        self.change()

    async def send_eof(self) -> None:
        self.is_ended = True
        self.change()

    async def aclose(self) -> None:
        self.is_closed = self.is_ended = True
        self.change()
        await checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {}


class Peer:
    """The other end of a `Wire`: what anyws writes is frames here, and what a test writes comes to anyws at once.

    Args:
        ours: which side anyws is.
        trailing: what comes in the same piece as the head.
    """

    def __init__(self, ours: Side, *, trailing: bytes = b"") -> None:
        self.ours: Side = ours
        self.stream = Wire(self._receive)
        self.head = b""
        self.frames: deque[Frame] = deque()
        self._trailing = trailing
        self._buffer = bytearray()
        if ours == "server":
            self.stream.give(REQUEST + trailing)

    def _receive(self, data: bytes) -> None:
        self._buffer += data
        if not self.head and b"\r\n\r\n" in self._buffer:
            end = self._buffer.index(b"\r\n\r\n") + 4
            self.head = bytes(self._buffer[:end])
            del self._buffer[:end]
            if self.ours == "client":
                self.stream.give(opening_response(self.head) + self._trailing)
        if self.head:
            while (frame := take_frame(self._buffer)) is not None:
                self.frames.append(frame)

    def frame_bytes(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
        """Return the bytes of a frame as this peer sends it."""
        return frame_bytes(opcode, payload, fin=fin, masked=self.ours == "server")

    def send_bytes(self, data: bytes) -> None:
        """Let these bytes come to anyws."""
        self.stream.give(data)

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        """Let a frame come to anyws."""
        self.send_bytes(self.frame_bytes(opcode, payload, fin=fin))

    def send_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Let a Close come to anyws."""
        self.send(CLOSE, close_payload(code, reason))

    def send_eof(self) -> None:
        """End this side."""
        self.stream.incoming_ended = True
        self.stream.change()

    def cut(self) -> None:
        """Lose the connection, once what was sent has been read."""
        self.stream.is_cut = True
        self.stream.change()

    def stop_reading(self) -> None:
        """Let anyws wait when it writes."""
        self.stream.is_reading = False

    def go_on_reading(self) -> None:
        """End `stop_reading`."""
        self.stream.is_reading = True
        self.stream.change()

    async def frame(self) -> Frame:
        """Wait for the next frame from anyws."""
        await self.stream.wait_for(lambda: bool(self.frames) or self.stream.is_ended)
        assert self.frames, "anyws ended the stream, expected a frame"
        return self.frames.popleft()

    async def end(self) -> None:
        """Wait until anyws has ended the stream."""
        await self.stream.wait_for(lambda: self.stream.is_ended)


class Meeting(Protocol):
    """What `meeting` is, over the transport that a test is given."""

    def __call__(
        self, ours: Side, *, trailing: bytes = b"", **options: Any
    ) -> AbstractAsyncContextManager[tuple[anyws.WebSocket, Peer]]:
        """Connect anyws to a `Peer`."""


@asynccontextmanager
async def meeting(
    ours: Side, *, trailing: bytes = b"", transport: Transport = in_memory, **options: Any
) -> AsyncIterator[tuple[anyws.WebSocket, Peer]]:
    """Connect anyws, as client or server, to a `Peer`. When the block ends, the peer is gone.

    Args:
        ours: which side anyws is.
        trailing: what comes from the peer in the same piece as the head.
        transport: what is between the two.
        options: of anyws.
    """
    options.setdefault("close_timeout", None)  # a close that hangs shall be seen, not cut
    peer = Peer(ours, trailing=trailing)
    async with transport(peer.stream) as stream:
        if ours == "client":
            opened = anyws.connect("ws://localhost/chat", stream=stream, **options)
        else:
            opened = anyws.accept(stream, **options)
        async with opened as websocket:
            try:
                yield websocket, peer
            finally:
                peer.go_on_reading()
                peer.send_eof()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()


memory_only = pytest.mark.parametrize("meeting", [in_memory], indirect=True, ids=["memory"])
"""For a test that counts the bytes on their way: TCP takes some megabytes of its own."""


async def ended(websocket: anyws.WebSocket) -> anyws.ConnectionClosed:
    """Receive until the end; return what is raised."""
    with pytest.raises(anyws.ConnectionClosed) as raised:
        while True:
            await websocket.receive()
    return raised.value


# -- a peer with a socket ----------------------------------------------------------------------------------------------


class StreamPeer:
    """Frames written by hand on a stream that is connected to anyws; the test owns the stream.

    Args:
        stream: the stream.
        ours: which side anyws is.
    """

    def __init__(self, stream: ByteStream, ours: Side) -> None:
        self.stream = stream
        self.ours: Side = ours
        self.head = b""
        self._buffer = bytearray()

    async def open(self, request: bytes = REQUEST, *, headers: bytes = b"", trailing: bytes = b"") -> bytes:
        """Make the opening handshake; return the head that anyws sent."""
        if self.ours == "server":
            await self.stream.send(request + trailing)
        await self.read_head()
        if self.ours == "client":
            await self.stream.send(opening_response(self.head, headers) + trailing)
        return self.head

    async def read_head(self) -> bytes:
        """Wait for the head of a request or response."""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += await self.stream.receive()
        end = self._buffer.index(b"\r\n\r\n") + 4
        self.head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return self.head

    async def rest(self) -> bytes:
        """Wait for the end of the stream; return all that came before it."""
        try:
            while True:
                self._buffer += await self.stream.receive()
        except anyio.EndOfStream:
            return bytes(self._buffer)

    async def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        """Send a frame."""
        await self.stream.send(frame_bytes(opcode, payload, fin=fin, masked=self.ours == "server"))

    async def frame(self) -> Frame:
        """Wait for a frame."""
        while (frame := take_frame(self._buffer)) is None:
            self._buffer += await self.stream.receive()
        return frame


def uri_of(server: anyws.Server, path: str = "/chat", *, scheme: str = "ws") -> str:
    """Return the URI of a server's first address."""
    host, port = server.addresses[0][:2]
    return f"{scheme}://[{host}]:{port}{path}" if ":" in host else f"{scheme}://{host}:{port}{path}"


async def echo(websocket: anyws.WebSocket) -> None:
    """Serve an echo."""
    async for message in websocket:
        await websocket.send(message)


@asynccontextmanager
async def scripted_server(answer: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """Answer each request with bytes that are made of it, and end the connection; yields the URI."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            peer = StreamPeer(stream, "client")
            try:
                await stream.send(answer(await peer.read_head()))
                await stream.send_eof()
                await peer.rest()
            except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):  # the last on trio, to end what was reset
                pass

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        yield f"ws://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"
        tasks.cancel_scope.cancel()


async def connected(uri: str, **options: Any) -> None:
    """Connect, and close."""
    async with anyws.connect(uri, **options):
        pass
