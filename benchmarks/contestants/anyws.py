"""anyws: ``async for`` on the native API, with its defaults."""

from __future__ import annotations

import anyio

import anyws
from anyws.protocol.deflate import PRESETS

from .arguments import Arguments, announce


async def echo(websocket: anyws.WebSocket) -> None:
    """Send back every message."""
    async for message in websocket:
        await websocket.send(message)


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    compression = PRESETS[name] if (name := arguments.compression) in PRESETS else None
    async with anyws.open_server(
        echo, "127.0.0.1", 0, compression=compression, ssl_context=arguments.ssl_context
    ) as server:
        announce(server.addresses[0][1])
        await anyio.sleep_forever()


if __name__ == "__main__":
    arguments = Arguments.parse(loops=("asyncio", "uvloop", "trio"), compressions=tuple(PRESETS))
    if arguments.loop == "trio":
        anyio.run(main, arguments, backend="trio")
    else:
        anyio.run(main, arguments, backend_options={"use_uvloop": arguments.loop == "uvloop"})
