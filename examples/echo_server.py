"""An echo server: ``python examples/echo_server.py [HOST] [PORT] [--backend trio]``."""

import argparse
import logging
import sys

import anyws


async def echo(websocket: anyws.WebSocket) -> None:
    async for message in websocket:  # str for text, bytes for binary
        await websocket.send(message)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server. Press Ctrl-C to stop.")
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("port", nargs="?", type=int, default=8765)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")  # says where it listens
    anyws.run(echo, arguments.host, arguments.port, backend=arguments.backend)
