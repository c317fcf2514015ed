"""What the tests of the I/O layer share: peers that say exactly what a test wants, a clock that jumps, open sockets."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import types
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec

import anyio
import pytest
import trio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

import anyws

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "REQUEST",
    "TEXT",
    "Frame",
    "Peer",
    "Side",
    "StreamPeer",
    "Wire",
    "accept_value",
    "cancelling_at",
    "close_payload",
    "connected",
    "echo",
    "ended",
    "frame_bytes",
    "meeting",
    "on_mock_clock",
    "open_sockets",
    "opening_response",
    "scripted_server",
    "uri_of",
]

P = ParamSpec("P")
Side = Literal["client", "server"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)  # the key of RFC 6455, 1.3
_MASKING_KEY = b"\x37\xfa\x21\x3d"


# -- frames, written out by hand ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """A frame as it was on the wire, unmasked."""

    opcode: int
    payload: bytes = b""
    fin: bool = True

    @property
    def close_code(self) -> int | None:
        """The code of a Close frame, None if it has none."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


def frame_bytes(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool) -> bytes:
    """Return the bytes of a frame (RFC 6455, 5.2)."""
    length, mask_bit = len(payload), 0x80 if masked else 0
    head = bytes([opcode | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 65536:
        head += bytes([mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + length.to_bytes(8, "big")
    return head + _MASKING_KEY + _xored(payload, _MASKING_KEY) if masked else head + payload


def close_payload(code: int | None, reason: str = "") -> bytes:
    """Return the payload of a Close frame; nothing is checked."""
    return b"" if code is None else code.to_bytes(2, "big") + reason.encode()


def _xored(payload: bytes, key: bytes) -> bytes:
    keys = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(payload), "big")


def _take_frame(buffer: bytearray) -> Frame | None:
    """Take a whole frame out of the buffer, if there is one."""
    if len(buffer) < 2:
        return None
    length, at = buffer[1] & 0x7F, 2
    if length >= 126:
        extended = 2 if length == 126 else 8
        length, at = int.from_bytes(buffer[2 : 2 + extended], "big"), 2 + extended
    masked = bool(buffer[1] & 0x80)
    start = at + (4 if masked else 0)
    if len(buffer) < start + length:
        return None
    payload = bytes(buffer[start : start + length])
    if masked:
        payload = _xored(payload, bytes(buffer[at:start]))
    frame = Frame(buffer[0] & 0x0F, payload, bool(buffer[0] & 0x80))
    del buffer[: start + length]
    return frame


def accept_value(head: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` that a request asks for."""
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def opening_response(request: bytes, headers: bytes = b"") -> bytes:
    """Return the 101 to a request."""
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return upgrade + b"Sec-WebSocket-Accept: " + accept_value(request) + b"\r\n" + headers + b"\r\n"


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
            while (frame := _take_frame(self._buffer)) is not None:
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


@asynccontextmanager
async def meeting(ours: Side, *, trailing: bytes = b"", **options: Any) -> AsyncIterator[tuple[anyws.WebSocket, Peer]]:
    """Connect anyws, as client or server, to a `Peer`. When the block ends, the peer is gone.

    Args:
        ours: which side anyws is.
        trailing: what comes from the peer in the same piece as the head.
        options: of anyws.
    """
    options.setdefault("close_timeout", None)  # a close that hangs shall be seen, not cut
    peer = Peer(ours, trailing=trailing)
    if ours == "client":
        opened = anyws.connect("ws://localhost/chat", stream=peer.stream, **options)
    else:
        opened = anyws.accept(peer.stream, **options)
    async with opened as websocket:
        try:
            yield websocket, peer
        finally:
            peer.go_on_reading()
            peer.send_eof()
    assert peer.stream.is_closed


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
        while (frame := _take_frame(self._buffer)) is None:
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
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            yield f"ws://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/"
            tasks.cancel_scope.cancel()


async def connected(uri: str, **options: Any) -> None:
    """Connect, and close."""
    async with anyws.connect(uri, **options):
        pass


# -- time, cancellation, sockets ---------------------------------------------------------------------------------------


def on_mock_clock(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on trio, on a clock that jumps to the next deadline when every task waits."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def within_a_day() -> None:
            with anyio.fail_after(86400):  # is passed at once when nothing else happens any more
                await test(*args, **kwargs)

        # Threads and loopback sockets may need a moment of real time; in memory nothing ever does.
        trio.run(within_a_day, clock=MockClock(autojump_threshold=0.02))

    return run


async def cancelling_at(step: int, scope: anyio.CancelScope, block: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, and cancel the scope where it suspends for the n-th time (from 0)."""
    await _cancelling_at(step, scope, block)


@types.coroutine
def _cancelling_at(step: int, scope: anyio.CancelScope, block: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    resume: Callable[[], Any] = functools.partial(block.send, None)
    count = 0
    while True:
        try:
            suspended = resume()
        except StopIteration:
            return
        if count == step:
            scope.cancel()
        count += 1
        try:
            resume = functools.partial(block.send, (yield suspended))
        except BaseException as exc:
            resume = functools.partial(block.throw, exc)


def open_sockets() -> set[str]:
    """Return the sockets that this process has open, where the system tells (Linux)."""
    found = set()
    for descriptor in Path("/proc/self/fd").glob("*") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
