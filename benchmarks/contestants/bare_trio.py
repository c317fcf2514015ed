"""Bare trio: echoes a byte stream without WebSocket, to show what is possible."""

from __future__ import annotations

import trio

from .arguments import Arguments, announce


async def echo(stream: trio.abc.Stream) -> None:
    """Echo all data."""
    try:
        while data := await stream.receive_some():
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    announce(listeners[0].socket.getsockname()[1])
    if arguments.ssl_context is None:
        await trio.serve_listeners(echo, listeners)
    else:
        await trio.serve_listeners(echo, [trio.SSLListener(each, arguments.ssl_context) for each in listeners])


if __name__ == "__main__":
    trio.run(main, Arguments.parse(loops=("trio",), compressions=()))
