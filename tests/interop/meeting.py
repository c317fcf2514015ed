"""A connection between anyws and a peer, whichever of them is the client."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anyio

import anyws

from .peer import Peer

__all__ = ["Encounter", "Meeting", "Side", "new_path"]

Side = Literal["client", "server"]

_numbers = itertools.count(1)


def new_path(topic: str) -> str:
    """Return a path that no other connection has."""
    return f"/{topic}/{next(_numbers)}"


@dataclass
class Encounter:
    """One connection, as our side has it.

    Attributes:
        websocket: our side of the connection.
        peer: the other side.
        path: the path of the request.
    """

    websocket: anyws.WebSocket
    peer: Peer
    path: str

    async def order(self, do: str, **arguments: object) -> None:
        """Order the peer to do something else than to echo."""
        await self.websocket.send("!" + json.dumps({"do": do, **arguments}))

    async def report(self) -> dict[str, Any]:
        """Wait for the peer's report; the connection must have been closed by one of the two."""
        return await self.peer.report(self.path)


@dataclass(frozen=True)
class Meeting:
    """How we meet a peer.

    Attributes:
        peer: whom we meet.
        our_side: what we are.
        client_context: for our client.
        server_context: for our server.
    """

    peer: Peer
    our_side: Side
    client_context: ssl.SSLContext
    server_context: ssl.SSLContext

    @asynccontextmanager
    async def open(
        self,
        topic: str,
        *,
        tls: bool = False,
        offered: Sequence[str] = (),
        spoken: Sequence[str] = (),
        compression: anyws.PerMessageDeflate | None = None,
    ) -> AsyncIterator[Encounter]:
        """Connect, and close in the end.

        Args:
            topic: the first part of the path.
            tls: whether by ``wss:``.
            offered: the subprotocols that the client offers.
            spoken: the subprotocols that our server speaks; a peer's are fixed.
            compression: what we ask for; a peer always speaks it, if its library can.
        """
        path = new_path(topic)
        if self.our_side == "client":
            context = self.client_context if tls else None
            uri = self.peer.uri(path, tls=tls)
            async with anyws.connect(
                uri, subprotocols=offered, ssl_context=context, compression=compression
            ) as websocket:
                yield await _greeted(Encounter(websocket, self.peer, path))
            return

        opened: list[anyws.WebSocket] = []
        is_open = anyio.Event()
        is_over = anyio.Event()

        async def handle(websocket: anyws.WebSocket) -> None:
            opened.append(websocket)
            is_open.set()
            await is_over.wait()

        context = self.server_context if tls else None
        async with anyws.open_server(
            handle, "127.0.0.1", 0, subprotocols=spoken, ssl_context=context, compression=compression
        ) as server:
            scheme, port = "wss" if tls else "ws", server.addresses[0][1]
            self.peer.connect(f"{scheme}://127.0.0.1:{port}{path}", offered)
            with anyio.fail_after(10):
                await is_open.wait()
            try:
                yield await _greeted(Encounter(opened[0], self.peer, path))
            finally:
                is_over.set()


async def _greeted(encounter: Encounter) -> Encounter:
    """Exchange a message: a server may not run its handler for a connection that is closed at once."""
    await encounter.websocket.send("hello")
    assert await encounter.websocket.receive() == "hello"
    return encounter
