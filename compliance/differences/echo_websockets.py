"""websockets: ``python -m compliance.differences.echo_websockets server``, or ``client URI COUNT``; see peers.py."""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake


async def echo(connection: Connection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


async def run_server() -> None:
    async with serve(echo, "127.0.0.1", 0) as server:
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


async def run_client(uri: str) -> None:
    try:
        async with connect(uri, proxy=None) as connection:
            await echo(connection)
    except (OSError, InvalidHandshake):
        pass


async def main(*arguments: str) -> None:
    role, uri, count = [*arguments, "", "0"][:3]
    if role == "server":
        await run_server()
    for _ in range(int(count)):
        await run_client(uri)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
