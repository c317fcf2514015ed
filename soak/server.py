"""The server of a run: ``python -m soak.server`` prints its port, and on each SIGUSR2 its resources, until SIGTERM."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import signal

import anyio

import anyws
from anyws._cli.backends import BACKENDS, run

from .resources import Resources

__all__ = ["echo"]

_BACKLOG = 4096  # so that a storm reaches the server, instead of waiting for the kernel to retry after a second


async def echo(websocket: anyws.WebSocket) -> None:
    """Echo every message."""
    async for message in websocket:
        await websocket.send(message)


async def main(max_connections: int | None) -> None:
    """Serve on a free port of 127.0.0.1."""
    with anyio.open_signal_receiver(signal.SIGUSR2, signal.SIGTERM) as signals:
        async with anyws.open_server(
            echo, "127.0.0.1", backlog=_BACKLOG, max_connections=max_connections, max_handshakes=None
        ) as server:
            print(server.addresses[0][1], flush=True)
            async for number in signals:
                if number == signal.SIGTERM:
                    break
                print(json.dumps(dataclasses.asdict(Resources.now())), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the server of a soak run.")
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    parser.add_argument("--max-connections", type=int)
    options = parser.parse_args()
    run(options.backend, functools.partial(main, options.max_connections))
