"""For tests of programs that use anyws: connections without a network, and a peer that does exactly what it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import ByteStream

from .accepting import open_link as accept_link
from .checking import build_options
from .client import open_link as connect_link
from .link import Link
from .logs import connection_logger
from .memory import MemoryStream, memory_stream_pair
from .options import AcceptOptions, ClientOptions
from .protocol.closing import Close, parse_close, serialize_close
from .protocol.connection import Role
from .protocol.frames import FrameDecoder, Opcode, serialize_frame
from .protocol.uri import parse_uri
from .websocket import WebSocket, running

__all__ = ["Frame", "MemoryStream", "ScriptedPeer", "connected_pair", "memory_stream_pair", "scripted_peer"]

_MASKING_KEY = b"\x00\x00\x00\x00"  # the payload is then seen as it is, in a dump of the bytes
Options = Mapping[str, Any]


@asynccontextmanager
async def connected_pair(
    uri: str = "ws://testserver/",
    *,
    client_options: Options | None = None,
    server_options: Options | None = None,
    capacity: int = 65536,
) -> AsyncGenerator[tuple[WebSocket, WebSocket], None]:
    """Connect a client and a server in memory.

    ``async with connected_pair() as (client, server)``: both are what `anyws.connect` and `anyws.accept` give, opening
    handshake included, and both are closed with the block.

    Args:
        uri: the URI that the client connects to; nothing is resolved.
        client_options: keywords as of `anyws.connect`.
        server_options: keywords as of `anyws.accept`.
        capacity: how many bytes may be on their way in each direction before the writer waits.
    """
    streams = memory_stream_pair(capacity)
    client, client_link, server, server_link = await _open(uri, streams, client_options or {}, server_options or {})
    async with running(server, server_link), running(client, client_link):
        try:
            yield client, server
        finally:
            # The client's close is not to wait behind messages that nobody has received.
            server_link.discard()


async def _open(
    uri: str, streams: tuple[ByteStream, ByteStream], client_options: Options, server_options: Options
) -> tuple[WebSocket, Link, WebSocket, Link]:
    target = parse_uri(uri)
    client_settings = build_options(ClientOptions, client_options, where="client_options")
    server_settings = build_options(AcceptOptions, server_options, where="server_options")
    accepted: list[tuple[WebSocket, Link]] = []

    async def accept() -> None:
        try:
            logger = connection_logger("anyws.server", streams[1])
            accepted.append(await accept_link(streams[1], server_settings, logger))
        except Exception as exc:
            failures.append(exc)

    failures: list[Exception] = []
    connected: tuple[WebSocket, Link] | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(accept)
        try:
            connected = await connect_link(streams[0], target, client_settings)
        except Exception as exc:
            failures.insert(0, exc)
    if connected is None or not accepted:
        for stream in streams:
            await anyio.aclose_forcefully(stream)
        raise failures[0]
    return *connected, *accepted[0]


class Frame:
    """A frame that a `ScriptedPeer` received.

    Attributes:
        opcode: the opcode.
        payload: the payload, unmasked.
        fin: whether it ends its message.
        masked: whether it came masked.
    """

    def __init__(self, opcode: Opcode, payload: bytes, *, fin: bool = True, masked: bool = False) -> None:
        self.opcode = opcode
        self.payload = payload
        self.fin = fin
        self.masked = masked

    def __repr__(self) -> str:
        return f"Frame({self.opcode.name}, {self.payload!r}, fin={self.fin}, masked={self.masked})"

    @property
    def close(self) -> Close:
        """What a Close frame says; 1005 when it is empty."""
        return parse_close(self.payload)


class ScriptedPeer:
    """The other end of a connection, after its opening handshake: it sends and answers nothing by itself.

    Attributes:
        stream: the byte stream, to send what is no frame, or to end it.
        role: which end the peer is; a client masks its frames.
    """

    def __init__(self, stream: ByteStream, role: Role) -> None:
        self.stream = stream
        self.role = role
        self._decoder = FrameDecoder(masked=None, rsv=0x70)

    async def send_frame(
        self, opcode: int, payload: str | bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool | None = None
    ) -> None:
        """Send one frame, however wrong it is.

        Args:
            opcode: 0 to 15.
            payload: its payload.
            fin: whether it ends its message.
            rsv: the reserved bits where they stand in the first byte (RSV1 is 0x40).
            masked: whether to mask it; by default as the role demands.
        """
        data = payload.encode() if isinstance(payload, str) else payload
        key = _MASKING_KEY if masked or (masked is None and self.role is Role.CLIENT) else b""
        await self.stream.send(serialize_frame(opcode, data, fin=fin, rsv=rsv, masking_key=key))

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close; code 1005 for an empty one."""
        await self.send_frame(Opcode.CLOSE, serialize_close(Close(code, reason)))

    async def receive_frame(self) -> Frame:
        """Wait for the next frame.

        Raises:
            anyio.EndOfStream: the other end has ended.
        """
        payload = bytearray()
        while True:
            while (part := self._decoder.next_part()) is not None:
                payload += part.payload
                if part.last:
                    header = part.header
                    return Frame(header.opcode, bytes(payload), fin=header.fin, masked=bool(header.masking_key))
            self._decoder.feed(await self.stream.receive())

    async def end(self) -> None:
        """Close the stream without a Close."""
        await self.stream.aclose()


@asynccontextmanager
async def scripted_peer(
    *, server: bool = False, options: Options | None = None, capacity: int = 65536
) -> AsyncGenerator[tuple[WebSocket, ScriptedPeer], None]:
    """Connect an `anyws.WebSocket` in memory with a peer that does what it is told.

    ``async with scripted_peer() as (websocket, peer)``; the opening handshake has been made.

    Args:
        server: whether the `anyws.WebSocket` is the server of the two; by default it is the client.
        options: keywords of the `anyws.WebSocket`, as of `anyws.accept` or `anyws.connect`.
        capacity: how many bytes may be on their way in each direction before the writer waits.
    """
    streams = memory_stream_pair(capacity)
    given = options or {}
    client, client_link, accepted, server_link = await _open(
        "ws://testserver/", streams, {} if server else given, given if server else {}
    )
    peer_stream = streams[0 if server else 1]
    websocket, link = (accepted, server_link) if server else (client, client_link)
    async with running(websocket, link):
        try:
            yield websocket, ScriptedPeer(peer_stream, Role.CLIENT if server else Role.SERVER)
        finally:
            # The end of the block is the end of the peer, so that nobody waits for its Close.
            await anyio.aclose_forcefully(peer_stream)
