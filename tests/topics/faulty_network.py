"""A network between a client and a server that fails when a test says so: a TCP proxy on loopback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteStream

from anyws._transport.connecting import connect_tcp
from anyws._transport.listening import listen_tcp
from anyws._transport.stream import SocketStream
from tests.harness import reset_stream

__all__ = ["FaultyNetwork", "faulty_network"]

_LOST = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class FaultyNetwork:
    """A proxy for one server."""

    def __init__(self, behind: int) -> None:
        self.port = 0
        self._behind = behind
        self._streams: set[SocketStream] = set()
        self._flows = anyio.Event()  # set while bytes flow
        self._flows.set()
        self._cuts: list[tuple[bytes, int]] = []
        self.delay = 0.0
        """How long to hold back what the server sends, in seconds."""

    def freeze(self) -> None:
        """Let no more bytes through; connections stay open, as in a partition."""
        self._flows = anyio.Event()

    def thaw(self) -> None:
        """Let bytes through again."""
        self._flows.set()

    def cut(self) -> None:
        """Reset all connections."""
        for stream in list(self._streams):
            if stream.fileno() >= 0:  # its end may just have been noticed
                reset_stream(stream)
        self._streams.clear()

    def cut_within(self, text: bytes, at: int) -> None:
        """Reset the connection on which the server sends this text, once the first bytes of it have been passed on."""
        self._cuts.append((text, at))

    async def serve(self, client: ByteStream) -> None:
        """Connect a client with the server."""
        assert isinstance(client, SocketStream)
        try:
            server = await connect_tcp("127.0.0.1", self._behind)
        except OSError:
            reset_stream(client)
            return
        pair = (client, server)
        self._streams.update(pair)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._pump, client, server, tasks.cancel_scope, False)
                tasks.start_soon(self._pump, server, client, tasks.cancel_scope, True)
        finally:
            self._streams.difference_update(pair)
            for stream in pair:
                stream.close()

    async def _pump(self, source: SocketStream, target: SocketStream, scope: anyio.CancelScope, back: bool) -> None:
        try:
            while True:
                data = await source.receive()
                if back and self.delay:
                    await anyio.sleep(self.delay)
                await self._flows.wait()
                for cut in self._cuts if back else ():
                    text, at = cut
                    if text in data:
                        self._cuts.remove(cut)
                        await target.send(data[: data.index(text) + at])
                        reset_stream(source)
                        return
                await target.send(data)
        except _LOST:
            pass
        finally:
            scope.cancel()


@asynccontextmanager
async def faulty_network(behind: int) -> AsyncGenerator[FaultyNetwork, None]:
    """Run a proxy beside a block."""
    network = FaultyNetwork(behind)
    (listener,) = await listen_tcp("127.0.0.1", 0)
    network.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, network.serve)
        yield network
        tasks.cancel_scope.cancel()
