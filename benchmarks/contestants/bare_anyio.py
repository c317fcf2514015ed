"""Bare AnyIO: echoes a byte stream without WebSocket, to show what is possible."""

from __future__ import annotations

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from .arguments import Arguments, announce, run_on_anyio


async def echo(stream: ByteStream) -> None:
    """Echo all data."""
    async with stream:
        try:
            async for data in stream:
                await stream.send(data)
        except anyio.BrokenResourceError:
            pass


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    announce(listener.extra(SocketAttribute.local_port))
    if arguments.ssl_context is None:
        await listener.serve(echo)
    else:
        await TLSListener(listener, arguments.ssl_context, standard_compatible=False).serve(echo)


if __name__ == "__main__":
    run_on_anyio(main, Arguments.parse(loops=("asyncio", "uvloop", "trio"), compressions=()))
