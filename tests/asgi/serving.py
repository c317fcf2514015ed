"""Applications served by uvicorn with anyws, in the event loop of the test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import uvicorn

from anyws._connection.pumps.transports import TransportPump
from anyws._transport.stream import SocketStream
from anyws.uvicorn import Protocol
from tests.peers import REQUEST, StreamPeer

__all__ = ["App", "Receive", "Scope", "Send", "Served", "echo", "serving"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]


@dataclass
class Served:
    """A running server."""

    server: uvicorn.Server

    @property
    def port(self) -> int:
        """The port on the local host."""
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def uri(self) -> str:
        """The address, for clients."""
        return f"{'wss' if self.server.config.is_ssl else 'ws'}://127.0.0.1:{self.port}"

    @property
    def protocols(self) -> list[Protocol]:
        """The WebSocket connections."""
        everybody = cast("set[Any]", self.server.server_state.connections)
        return [each for each in everybody if isinstance(each, Protocol)]

    @property
    def pump(self) -> TransportPump:
        """The pump of the only connection."""
        (protocol,) = self.protocols
        assert protocol._pump is not None
        return protocol._pump

    @asynccontextmanager
    async def peer(self, *, request: bytes = REQUEST, trailing: bytes = b"") -> AsyncIterator[StreamPeer]:
        """Connect a client that says exactly what the test wants, as far as the response 101."""
        # AnyIO's stream would read unasked.
        async with SocketStream(socket.create_connection(("127.0.0.1", self.port))) as stream:
            peer = StreamPeer(stream, "server")
            await peer.open(request, trailing=trailing)
            yield peer


@asynccontextmanager
async def serving(app: App, **settings: Any) -> AsyncIterator[Served]:
    """Serve an application for the duration of a block, and shut down."""
    defaults: dict[str, Any] = {"ws": "anyws.uvicorn:Protocol", "port": 0, "lifespan": "off", "log_config": None}
    config = uvicorn.Config(cast(Any, app), **defaults | settings)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    await server.on_tick(0)  # sets the default headers
    try:
        yield Served(server)
    finally:
        await server.shutdown()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Echo all messages."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
