"""anyws, with its callback API and sync hooks."""

from __future__ import annotations

from typing import Any

import anyio

import anyws
from anyws.callbacks import Socket

from .anyws import COMPRESSIONS
from .arguments import Arguments, announce, run_on_anyio


def echo(message: str | bytes, socket: Socket) -> None:
    """Echo a message."""
    socket.message_send(message)


_everybody: set[Socket] = set()


def add(_: Exception | None, socket: Socket) -> None:
    """Add a connection."""
    _everybody.add(socket)


async def broadcast(message: str | bytes) -> None:
    """Send a message to all connections."""
    for missing in await anyws.broadcast(_everybody, message):
        _everybody.discard(missing)


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    options: dict[str, Any] = {} if arguments.max_size is None else {"max_message_size": arguments.max_size}
    options |= (
        {"callback_open": add, "message_handler": broadcast} if arguments.broadcast else {"message_handler": echo}
    )
    async with anyws.server(
        listener_options={"host": "127.0.0.1", "port": 0},
        compression=COMPRESSIONS[arguments.compression],
        secure=arguments.ssl_context is not None,
        ssl_context=arguments.ssl_context,
        **options,
    ) as server:
        announce(server.addresses[0][1])
        await anyio.sleep_forever()


if __name__ == "__main__":
    run_on_anyio(main, Arguments.parse(loops=("asyncio", "uvloop", "trio"), compressions=tuple(COMPRESSIONS)))
