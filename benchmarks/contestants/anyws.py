"""anyws: ``async for`` on the native API, with its defaults."""

from __future__ import annotations

from typing import Any

import anyio

import anyws
from anyws.protocol.deflate import PRESETS

from .arguments import Arguments, announce


async def echo(websocket: anyws.WebSocket) -> None:
    """Echo every message."""
    async for message in websocket:
        await websocket.send(message)


_everybody: set[anyws.WebSocket] = set()


async def broadcast(websocket: anyws.WebSocket) -> None:
    """Send every message to all connections."""
    _everybody.add(websocket)
    try:
        async for message in websocket:
            await anyws.broadcast(_everybody, message)
    finally:
        _everybody.discard(websocket)


def zlib_ng_settings() -> anyws.PerMessageDeflate:
    """Return the windows of the preset "default", with the zlib-ng level that compresses about as well as zlib."""
    from zlib_ng import zlib_ng

    return anyws.PerMessageDeflate(
        server_max_window_bits=12, client_max_window_bits=12, mem_level=5, level=2, zlib=zlib_ng
    )


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    compression = zlib_ng_settings() if arguments.compression == "zlib-ng" else PRESETS.get(arguments.compression)  # type: ignore[call-overload]
    options: dict[str, Any] = {} if arguments.max_size is None else {"max_message_size": arguments.max_size}
    async with anyws.open_server(
        broadcast if arguments.broadcast else echo,
        "127.0.0.1",
        0,
        compression=compression,
        ssl_context=arguments.ssl_context,
        **options,
    ) as server:
        announce(server.addresses[0][1])
        await anyio.sleep_forever()


if __name__ == "__main__":
    arguments = Arguments.parse(loops=("asyncio", "uvloop", "trio"), compressions=(*PRESETS, "zlib-ng"))
    if arguments.loop == "trio":
        anyio.run(main, arguments, backend="trio")
    else:
        anyio.run(main, arguments, backend_options={"use_uvloop": arguments.loop == "uvloop"})
