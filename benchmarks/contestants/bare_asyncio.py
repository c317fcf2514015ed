"""Bare asyncio: a protocol that echoes bytes without WebSocket, to show what is possible."""

from __future__ import annotations

import asyncio
from typing import cast

from .arguments import Arguments, announce, run_on_asyncio


class Echo(asyncio.Protocol):
    """Echoes all data."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Echo the data."""
        self.transport.write(data)


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=arguments.ssl_context)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    run_on_asyncio(main, Arguments.parse(loops=("asyncio", "uvloop"), compressions=()))
