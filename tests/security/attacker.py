"""Helpers for attacks: an attacker with a socket, and a check that other clients are still served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketStream

import anyws
from tests.peers import REQUEST, StreamPeer, uri_of

__all__ = ["answer_to", "asking", "attacker", "check_serves", "push"]


def asking(*lines: str) -> bytes:
    """Return an opening handshake with additional header lines."""
    return REQUEST[:-2] + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


@asynccontextmanager
async def attacker(server: anyws.Server) -> AsyncIterator[StreamPeer]:
    """Connect to a server without anyws."""
    async with await anyio.connect_tcp(*server.addresses[0][:2]) as stream:
        yield StreamPeer(stream, "server")


async def push(stream: SocketStream | Any, pieces: Iterable[bytes]) -> bool:
    """Send all pieces; return whether this was possible."""
    try:
        for piece in pieces:
            await stream.send(piece)
    except anyio.BrokenResourceError:
        return False
    return True


async def answer_to(server: anyws.Server, data: bytes) -> bytes:
    """Return the response of a server that rejects a request; empty if it aborted the connection."""
    async with attacker(server) as peer:
        await push(peer.stream, [data])
        try:
            head = await peer.read_head()
            return head if head.startswith(b"HTTP/1.1 101 ") else head + await peer.rest()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b""


async def check_serves(server: anyws.Server, **options: Any) -> None:
    """Check that the server still serves other clients."""
    scheme = "wss" if "ssl_context" in options else "ws"
    async with anyws.connect(uri_of(server, scheme=scheme), **options) as websocket:
        await websocket.send("still there?")
        assert await websocket.receive() == "still there?"
